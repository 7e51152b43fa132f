"""`btl pretrain` on a tiny BERT: what it learns, writes, resumes and refuses."""

import importlib.util
import json
import math
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer, TrainingArguments
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.errors import BtlError, PipelineError
from spacy_btl.models.wordpieces import WordpieceTokenizer
from spacy_btl.unlabelled.loop import GuessingTrainer, Listener
from spacy_btl.unlabelled.pretrain import Options, pretrain_encoder
from spacy_btl.unlabelled.windows import IGNORED, HiddenWords, windows_of
from tests.conftest import SENTENCES, bert_pipeline, make_tiny_bert, train
from tests.models.tiny_encoders import WORKING, make_tiny

pytest.importorskip("accelerate")

OPTIONS = Options(epochs=6, learn_rate=5e-3, batch_size=8, window=32)
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def notes(tmp_path_factory):
    """Eighty notes of a few words; one has no text."""
    path = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    texts = [text for text, _ in SENTENCES]
    lines = [
        {"id": i, "text": f"{texts[i % len(texts)]} . {texts[i // 8 % len(texts)]}"}
        for i in range(80)
    ]
    lines.append({"id": 80, "text": None})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pretrained(notes, tiny_bert, tmp_path_factory):
    """What an uninterrupted run returns, and where it wrote."""
    output = tmp_path_factory.mktemp("pretrained") / "encoder"
    return pretrain_encoder(notes, str(tiny_bert), output, OPTIONS), output


def test_hidden_words_of_held_out_notes_are_guessed_better(pretrained):
    done, _ = pretrained
    assert (done.notes, done.skipped, done.held_out) == (80, 1, 4)
    first, best = done.evaluations[0], done.best
    assert first.step == 0
    assert first.perplexity > 20  # of about 60 words, by random weights
    assert best.perplexity < first.perplexity / 2
    assert best == min(done.evaluations, key=lambda one: one.perplexity)


def test_the_perplexity_is_that_of_the_written_encoder(pretrained, notes):
    """Counted again by torch alone, over the same hidden words."""
    done, output = pretrained
    record = json.loads((output / "pretraining.json").read_text("utf-8"))
    assert record["best"]["perplexity"] == done.best.perplexity
    texts = [json.loads(line)["text"] for line in notes.read_text("utf-8").splitlines()]
    order = random.Random(OPTIONS.seed).sample(texts[:80], 80)
    tokenizer = AutoTokenizer.from_pretrained(output)
    wordpieces = WordpieceTokenizer.from_fast(tokenizer, reads_types=False)
    windows = list(windows_of(order[:4], wordpieces, OPTIONS.window))
    rows = list(HiddenWords(windows, tokenizer, OPTIONS.masking, OPTIONS.seed))
    model = AutoModelForMaskedLM.from_pretrained(output).eval()
    losses = []
    with torch.no_grad():
        for row in rows:
            logits = model(input_ids=torch.tensor(row["input_ids"])[None]).logits[0]
            log_p = logits.log_softmax(dim=-1)
            losses += [-log_p[i, n] for i, n in enumerate(row["labels"]) if n != IGNORED]
    assert math.exp(torch.stack(losses).mean()) == pytest.approx(done.best.perplexity, rel=0.02)


@pytest.mark.parametrize("kind", sorted(WORKING))
def test_the_loss_is_that_of_all_wordpieces_though_the_head_reads_the_hidden_ones(kind, tmp_path):
    config = AutoConfig.from_pretrained(make_tiny(kind, tmp_path))
    if type(config) not in AutoModelForMaskedLM._model_mapping:
        pytest.skip("this kind has no head that guesses")
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(config).eval()
    ids = torch.randint(5, 40, (3, 12))
    mask = torch.ones_like(ids)
    mask[2, 8:] = 0
    labels = torch.full_like(ids, IGNORED)
    labels[0, 2:5], labels[2, 7] = ids[0, 2:5], ids[2, 7]
    batch = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    arguments = TrainingArguments(str(tmp_path / "state"), use_cpu=True, report_to=[])
    trainer = GuessingTrainer(model, arguments)
    losses, gradients = [], []
    for loss in (lambda: model(**batch).loss, lambda: trainer.compute_loss(model, batch)):
        model.zero_grad()
        losses.append(loss())
        losses[-1].backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(gradients[1], gradients[0])
    assert model(**batch).logits.shape[:2] == ids.shape  # its hook is gone


def test_a_stopped_run_goes_on_to_the_same_weights(pretrained, notes, tiny_bert, tmp_path):
    _, uninterrupted = pretrained
    output = tmp_path / "encoder"

    def stop(step, steps):
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain_encoder(notes, str(tiny_bert), output, OPTIONS, Listener(on_step=stop))
    assert not output.exists()
    steps = []
    pretrain_encoder(
        notes, str(tiny_bert), output, OPTIONS, Listener(lambda step, _: steps.append(step))
    )
    assert 1 < steps[0] <= 20, "it began anew, or did not go back to a checkpoint"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder"]
    ours, theirs = (load_file(folder / WEIGHTS) for folder in (output, uninterrupted))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert torch.equal(weights, theirs[name]), name


def test_another_run_does_not_go_on_from_the_state(notes, tiny_bert, tmp_path):
    def stop(step, steps):
        raise KeyboardInterrupt

    output = tmp_path / "encoder"
    with pytest.raises(KeyboardInterrupt):
        pretrain_encoder(notes, str(tiny_bert), output, OPTIONS, Listener(on_step=stop))
    with pytest.raises(BtlError, match="had another learn_rate"):
        pretrain_encoder(notes, str(tiny_bert), output, replace(OPTIONS, learn_rate=1e-3))


def test_a_pipeline_trains_on_what_it_wrote(pretrained):
    _, output = pretrained
    nlp = train(bert_pipeline(output))
    assert nlp("severe fever").ents[0].label_ in {"Sign", "Severity"}


def test_a_checkpoint_with_a_head_keeps_it(notes, pretrained, tmp_path):
    """So a second run begins where the first one ended."""
    done, output = pretrained
    again = pretrain_encoder(notes, str(output), tmp_path / "again", replace(OPTIONS, epochs=0.2))
    assert again.evaluations[0].perplexity == pytest.approx(done.best.perplexity, rel=1e-3)


def test_what_cannot_be_used_is_said(notes, tiny_bert, tmp_path, monkeypatch):
    few = tmp_path / "few.jsonl"
    few.write_text('{"id": 1, "text": "fever"}\n', encoding="utf-8")
    with pytest.raises(PipelineError, match="at least 2 notes"):
        pretrain_encoder(few, str(tiny_bert), tmp_path / "out", OPTIONS)
    one_sided = make_tiny("GPT-2", tmp_path / "gpt2")
    with pytest.raises(PipelineError, match=r"cannot load the weights of .*gpt2"):
        pretrain_encoder(notes, str(one_sided), tmp_path / "out", OPTIONS)
    with pytest.raises(BtlError, match="no encoder of"):
        pretrain_encoder(notes, str(tiny_bert), tiny_bert, OPTIONS)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PipelineError, match=r"accelerate is not installed.*\[pretrain\]"):
        pretrain_encoder(notes, str(tiny_bert), tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


def test_the_command_prints_each_perplexity(notes, tmp_path):
    encoder = make_tiny_bert(tmp_path / "bert")
    arguments = ["pretrain", notes, encoder, tmp_path / "out", "--epochs", 0.5, "--window", 32]
    done = CliRunner().invoke(btl, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert "step 0: perplexity" in done.output
    assert "1 note without text left out" in done.output
    assert (tmp_path / "out" / WEIGHTS).is_file()
    again = CliRunner().invoke(btl, list(map(str, arguments)))
    assert again.exit_code == 1
    assert "--force" in again.output
