"""Encoders of many kinds train, save, load and predict; those that cannot are refused with words.

The table of docs/encoders.md holds what is tried here, no more and no less.
"""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from transformers import LukeTokenizer

from spacy_btl.errors import BtlWarning, PipelineError
from spacy_btl.models import passes as passes_module
from tests.conftest import bert_pipeline, make_examples, step, train
from tests.models.tiny_encoders import KINDS, ONE_SIDED, REFUSED, WORKING, make_tiny

pytestmark = pytest.mark.slow  # a network of each kind

PAGE = Path(__file__).parents[2] / "docs" / "encoders.md"
NOTES = [
    "fever and cough today",
    "the patient had  severe\nfever , crp was 84 mg / l ( 39 °C ) " * 4,
    "Élevé \U0001f912 fever",
    "pain",
]
# What a row of the page says, and what the error does.
REASONS = {
    "has a decoder": "with a decoder",
    "reads padding or draws at random": "reads padding or draws at random",
    "takes no attention mask": "takes no attention mask",
    "reads each wordpiece by itself on a CPU": "reads each wordpiece by itself",
    "has vectors of another width than its config says": "vectors of another width",
    "has no fast tokenizer": "not a fast one",
    "needs code of its own": "needs code of its own",
}


def pipeline(folder: Path, **settings) -> Language:
    return bert_pipeline(folder, encoder={"window": 64, "overlap": 16, **settings})


def logits(nlp: Language, notes: list[str]) -> list[np.ndarray]:
    return [doc._.token_logits for doc in nlp.pipe(notes)]


@pytest.fixture(scope="module", params=[*WORKING, *ONE_SIDED])
def nlp(request, tmp_path_factory) -> Language:
    """A few steps of training, with dropout."""
    folder = make_tiny(request.param, tmp_path_factory.mktemp("kind"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", BtlWarning)
        if request.param in ONE_SIDED:
            warnings.filterwarnings("ignore", "(?s).*on one side of it alone")
        return train(pipeline(folder), steps=3)


def test_it_learns(nlp):
    optimizer = nlp.resume_training()
    optimizer.learn_rate = 0.003
    losses = [step(nlp, make_examples(nlp), optimizer)["ner"] for _ in range(10)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


def test_a_saved_one_is_the_same_to_the_bit(nlp, tmp_path):
    nlp.to_disk(tmp_path / "one")
    loaded = spacy.load(tmp_path / "one")
    for found, expected in zip(logits(loaded, NOTES), logits(nlp, NOTES), strict=True):
        np.testing.assert_array_equal(found, expected)
    loaded.to_disk(tmp_path / "two")
    model = Path("transformer") / "model"
    assert (tmp_path / "two" / model).read_bytes() == (tmp_path / "one" / model).read_bytes()


def test_a_note_is_read_alone_as_in_a_batch_and_after_other_notes(nlp):
    alone = [nlp(note)._.token_logits for note in NOTES]
    in_a_batch = logits(nlp, NOTES)
    backwards = [nlp(note)._.token_logits for note in reversed(NOTES)][::-1]
    for one, two, three in zip(alone, in_a_batch, backwards, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(three, one)


def test_threads_read_as_one_does(nlp):
    notes = NOTES * 6
    expected = [nlp(note)._.token_logits for note in notes]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda note: nlp(note)._.token_logits, notes))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_a_token_is_read_from_its_own_wordpieces(nlp):
    encoder = nlp.get_pipe("transformer").model
    doc = nlp.make_doc(NOTES[0])
    align = encoder.predict([doc]).align
    offsets = encoder.tokenizer(doc.text, return_offsets_mapping=True).offset_mapping
    for token, found in zip(
        doc, np.split(align.data.ravel(), np.cumsum(align.lengths)[:-1]), strict=True
    ):
        own = range(token.idx, token.idx + len(token))
        expected = [i for i, (start, end) in enumerate(offsets) if {*own} & {*range(start, end)}]
        assert found.tolist() == expected


def test_masks_differ_between_batches(nlp, tmp_path):
    encoder = nlp.get_pipe("transformer").model
    if encoder.tokenizer.mask_token is None:
        pytest.skip("without a mask token there is no masking")
    forward = encoder.layers[0]._func
    read = []
    hook = encoder.transformer.register_forward_pre_hook(
        lambda module, args, inputs: read.append(inputs["input_ids"].numpy()), with_kwargs=True
    )
    encoder.layers[0]._func = partial(forward.func, **{**forward.keywords, "masking": 0.3})
    docs = [nlp.make_doc(NOTES[1])]
    try:
        for _ in range(4):
            encoder.begin_update(docs)
    finally:
        encoder.layers[0]._func = forward
        hook.remove()
    masks = [ids == encoder.tokenizer.mask_token_id for ids in read]
    assert all(mask.any() for mask in masks)
    assert all((masks[0] != mask).any() for mask in masks[1:])


def make_luke(folder: Path) -> None:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"xyz"]
    entities = {name: number for number, name in enumerate(("[UNK]", "[PAD]", "[MASK]", "[MASK2]"))}
    files = {
        "vocab_file": json.dumps({piece: number for number, piece in enumerate(pieces)}),
        "merges_file": "#version: 0.2\n",
        "entity_vocab_file": json.dumps(entities),
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    LukeTokenizer(**{name: str(folder / name) for name in files}).save_pretrained(folder)
    write_config(folder, {"model_type": "luke", "vocab_size": 10})


def make_remote(folder: Path) -> None:
    write_config(folder, {"model_type": "nomic_bert", "auto_map": {"AutoConfig": "code.Config"}})
    (folder / "code.py").write_text("raise SystemError('it was run')", encoding="utf-8")


def write_config(folder: Path, config: dict) -> None:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "model.safetensors").touch()


MADE = {"LUKE": make_luke, "Nomic BERT": make_remote}


def rows(section: str) -> dict[str, list[str]]:
    """The rows of a table of the page, by their first cell."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    table = [line.strip("| \n").split(" | ") for line in text.splitlines() if line[:2] == "| "]
    return {cells[0]: cells[1:] for cells in table[2:]}


def test_the_page_names_what_is_tried_here():
    working, refused = rows("Encoders that work"), rows("Encoders that are refused")
    assert list(working) == [*WORKING, *ONE_SIDED]
    assert sorted(refused) == sorted([*REFUSED, *MADE])
    for name, cells in {**working, **refused}.items():
        if name in KINDS:
            assert cells[0] == f"`{KINDS[name].model_type}`"


@pytest.mark.parametrize("name", [*REFUSED, *MADE])
def test_what_cannot_work_is_refused_in_a_line_for_the_reason_on_the_page(name, tmp_path):
    if name in MADE:
        MADE[name](tmp_path)
    else:
        make_tiny(name, tmp_path)
    reason = rows("Encoders that are refused")[name][1]
    with pytest.raises(PipelineError, match=REASONS[reason]) as error:
        pipeline(tmp_path).initialize(lambda: make_examples(spacy.blank("en")))
    assert "\n" not in str(error.value)


def test_deberta_computes_in_float32_where_others_do_in_bfloat16(tmp_path, monkeypatch):
    """Neither bfloat16 nor float16 has the number that masks its attention."""
    monkeypatch.setattr(passes_module, "cpu_has_bfloat16", lambda: True)
    folder = make_tiny("DeBERTa", tmp_path)
    nlp = train(pipeline(folder, mixed_precision=True, predict_bfloat16=True), steps=2)
    encoder = nlp.get_pipe("transformer").model
    dtypes = set()
    hook = encoder.transformer.encoder.register_forward_hook(
        lambda module, args, output: dtypes.add(output[0].dtype)
    )
    assert all(np.isfinite(rows).all() for rows in logits(nlp, NOTES))
    step(nlp, make_examples(nlp), nlp.resume_training())
    hook.remove()
    assert dtypes == {torch.float32}


@pytest.mark.parametrize(("name", "mixed"), [("DeBERTa", False), ("BERT", True)])
def test_deberta_computes_in_float32_where_others_do_in_float16(name, mixed, tmp_path):
    nlp = pipeline(make_tiny(name, tmp_path))
    shim = nlp.get_pipe("transformer").model.layers[0].shims[0]
    shim._mixed_precision = True  # as on CUDA, if the config asks for it
    nlp.initialize(lambda: make_examples(nlp))
    assert shim._mixed_precision == mixed


def test_longformer_says_that_it_pads_small_windows(tmp_path):
    folder = make_tiny("Longformer", tmp_path)
    nlp = bert_pipeline(folder, encoder={"transformer_config": {"attention_window": [32, 64]}})
    with pytest.warns(BtlWarning, match=r"pads each window of 48 wordpieces to 64"):
        nlp.initialize(lambda: make_examples(nlp))


def test_bigbird_reads_all_of_a_window_whatever_it_was_saved_with(tmp_path):
    folder = make_tiny("BigBird", tmp_path)
    assert json.loads((folder / "config.json").read_text())["attention_type"] == "block_sparse"
    nlp = pipeline(folder)
    nlp.initialize(lambda: make_examples(nlp))
    assert nlp.get_pipe("transformer").model.transformer.config.attention_type == "original_full"
    sparse = bert_pipeline(
        folder, encoder={"transformer_config": {"attention_type": "block_sparse"}}
    )
    with pytest.raises(PipelineError, match="original_full"):
        sparse.initialize(lambda: make_examples(nlp))
