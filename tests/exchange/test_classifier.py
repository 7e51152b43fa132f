"""What a folder must hold for a token classifier to be read from it, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
import torch
from spacy.cli._util import app
from tokenizers import Tokenizer
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.errors import PipelineError
from spacy_btl.exchange.huggingface import import_hf
from tests.exchange.checkpoints import (
    VOCABULARY,
    make_classifier,
    make_tokenizer,
    save_checkpoint,
    token_logits,
)

SETTINGS = {"lang": "xx", "window": 48, "overlap": 8}
TEXT = "the patient had severe fevers , coughed"


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_checkpoint(tmp_path / "checkpoint", make_classifier("bert"))


def logits_are_kept(folder: Path, output: Path) -> bool:
    import_hf(folder, output, **SETTINGS)
    doc = spacy.load(output)(TEXT)
    return np.abs(token_logits(folder, doc) - doc._.token_logits).max() < 1e-4


def refuse(folder: Path, problem: str) -> None:
    output = folder.parent / "out" / "model"
    with pytest.raises(PipelineError, match=problem) as refusal:
        import_hf(folder, output, **SETTINGS)
    assert "\n" not in str(refusal.value)
    assert folder.name in str(refusal.value)
    assert {path.name for path in folder.parent.iterdir()} == {folder.name}


def edit(file: Path, **changes) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_the_command_says_in_one_line_that_the_tokenizer_is_missing(tmp_path):
    make_classifier("bert").save_pretrained(tmp_path / "no_tokenizer")
    args = ["btl", "import-hf", str(tmp_path / "no_tokenizer"), str(tmp_path / "out")]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 1
    assert result.output.strip() == (
        f"✘ {tmp_path / 'no_tokenizer'}: no tokenizer beside the checkpoint. Save it there with "
        "tokenizer.save_pretrained(...)"
    )
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_whose_vocabulary_is_missing(folder):
    (folder / "tokenizer.json").unlink()
    refuse(folder, "cannot load the tokenizer")


def test_a_tokenizer_of_which_there_is_no_fast_one(folder):
    (folder / "tokenizer.json").unlink()
    edit(folder / "tokenizer_config.json", tokenizer_class="CanineTokenizer")
    refuse(folder, "no character offsets .CanineTokenizer")


def test_a_vocabulary_alone_is_a_tokenizer(folder, tmp_path):
    for file in folder.glob("*token*"):
        file.unlink()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    assert logits_are_kept(folder, tmp_path / "out")


def test_a_tokenizer_without_padding(folder):
    make_tokenizer(pad_token=None).save_pretrained(folder)
    refuse(folder, "no padding token")


def test_a_tokenizer_of_another_model(folder):
    tokenizer = make_tokenizer()
    tokenizer.add_tokens(["hepatitis"])
    tokenizer.save_pretrained(folder)
    refuse(folder, "tokenizer is of another model")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_never_run(folder, file):
    edit(folder / file, auto_map={"AutoModelForTokenClassification": "code.Model"})
    (folder / "code.py").write_text("raise SystemExit")
    refuse(folder, "auto_map")


def test_quantised_weights(folder):
    edit(folder / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    refuse(folder, "quantised")


def test_weights_that_are_missing_are_named(folder):
    (folder / "model.safetensors").unlink()
    refuse(folder, r"model\.safetensors is missing")


@pytest.mark.parametrize(("key", "value"), [("id2label", {0: "O", 1: "I-A"}), ("vocab_size", 200)])
def test_a_config_that_does_not_fit_the_weights(folder, key, value):
    edit(folder / "config.json", **{key: value, "label2id": {}})
    refuse(folder, "config.json does not fit the weights: .* has another size")


def test_a_tokenizer_without_a_limit_as_transformers_writes_it(folder, tmp_path):
    no_limit = make_tokenizer(model_max_length=None).model_max_length
    assert no_limit > 2**64
    edit(folder / "tokenizer_config.json", model_max_length=no_limit)
    assert logits_are_kept(folder, tmp_path / "out")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_config_that_is_none(folder, content):
    (folder / "config.json").write_text(content)
    refuse(folder, "config.json")


def test_a_kind_without_a_token_classifier(folder):
    edit(folder / "config.json", model_type="vit")
    refuse(folder, "cannot load it as a token classifier")


def test_layers_that_transformers_would_drop(folder):
    classifier = make_classifier("bert")
    classifier.add_module("crf", torch.nn.Linear(2, 2))
    classifier.save_pretrained(folder)
    refuse(folder, "has no place for .crf.bias")


def test_weights_in_several_files(tmp_path):
    folder = save_checkpoint(tmp_path / "c", make_classifier("bert"), max_shard_size="20KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert logits_are_kept(folder, tmp_path / "out")


def test_weights_in_a_file_of_torch_from_a_gpu(tmp_path, monkeypatch):
    with monkeypatch.context() as on_gpu:
        on_gpu.setattr("torch.serialization.location_tag", lambda _: "cuda:0")
        classifier = make_classifier("bert")
        folder = save_checkpoint(tmp_path / "c", classifier, safe_serialization=False)
    assert not list(folder.glob("*.safetensors"))
    assert logits_are_kept(folder, tmp_path / "out")


def test_a_pickle_that_would_run_code(folder):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (folder.parent / "ran",))

    (folder / "model.safetensors").unlink()
    torch.save({"classifier.weight": Evil()}, folder / "pytorch_model.bin")
    refuse(folder, "cannot load it as a token classifier")


def test_half_precision_is_read_and_saved_as_float32(tmp_path):
    folder = save_checkpoint(tmp_path / "c", make_classifier("bert").half())
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "float16"
    assert logits_are_kept(folder, tmp_path / "out")
    encoder = spacy.load(tmp_path / "out").get_pipe("transformer").model.transformer
    assert encoder.dtype == torch.float32


def test_a_tokenizer_file_that_is_damaged(folder):
    (folder / "tokenizer.json").write_text("{")
    refuse(folder, "cannot load the tokenizer")


def test_a_tokenizer_that_pads_to_the_left_and_tells_apart_upper_case(tmp_path):
    folder = save_checkpoint(tmp_path / "c", make_classifier("bert"))
    raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
    raw.normalizer = None
    raw.save(str(folder / "tokenizer.json"))
    edit(folder / "tokenizer_config.json", padding_side="left")
    assert logits_are_kept(folder, tmp_path / "out")
