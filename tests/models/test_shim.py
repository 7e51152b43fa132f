"""A saved encoder that would run code or write files is refused, before either happens."""

import io
import json
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
import torch
from spacy.language import Language

from spacy_btl.errors import PipelineError
from spacy_btl.models import shim
from tests.conftest import SENTENCES, bert_pipeline, make_examples, step

TEXT = SENTENCES[0][0]
CODE = """
from pathlib import Path
from transformers import BertTokenizerFast
Path({flag!r}).touch()
"""


class Exploit:
    """Makes a file when it is unpickled."""

    def __init__(self, flag: Path):
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.flag,)


def change(model: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit what spacy-transformers saved of the encoder."""
    saved = srsly.read_msgpack(model)
    (shims,) = filter(None, saved["shims"])
    encoder = srsly.msgpack_loads(shims[0])
    edit(encoder)
    shims[0] = srsly.msgpack_dumps(encoder)
    srsly.write_msgpack(model, saved)


def torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def pickled_weights(encoder: dict[str, Any], flag: Path) -> None:
    # As torch did before weights-only mode: protocol 2.
    encoder["state"] = pickle.dumps(Exploit(flag), protocol=2)


def weights_and_more(encoder: dict[str, Any], flag: Path) -> None:
    state = torch.load(io.BytesIO(encoder["state"]), weights_only=True)
    encoder["state"] = torch_file({**state, "more": Exploit(flag)})


def file_at_a_path(encoder: dict[str, Any], flag: Path) -> None:
    encoder["tokenizer"][str(flag)] = b""


def file_up_a_folder(encoder: dict[str, Any], flag: Path) -> None:
    encoder["tokenizer"][f"../../../../../../{flag.relative_to('/')}"] = b""


def trusted_code(encoder: dict[str, Any], flag: Path) -> None:
    files = encoder["tokenizer"]
    config = json.loads(files["tokenizer_config.json"])
    config["auto_map"] = {"AutoTokenizer": [None, "code.BertTokenizerFast"]}
    files["tokenizer_config.json"] = json.dumps(config).encode()
    files["code.py"] = CODE.format(flag=str(flag)).encode()
    files["kwargs"]["trust_remote_code"] = True


EXPLOITS = [pickled_weights, weights_and_more, file_at_a_path, file_up_a_folder, trusted_code]


@pytest.mark.parametrize("exploit", EXPLOITS)
def test_an_exploit_is_refused_and_does_nothing(trained_path, tmp_path, exploit):
    folder, flag = tmp_path / "model", tmp_path / "executed"
    shutil.copytree(trained_path, folder)
    change(folder / "transformer" / "model", lambda encoder: exploit(encoder, flag))
    with pytest.raises(PipelineError, match="saved encoder"):
        spacy.load(folder)
    assert not flag.exists()


@pytest.mark.parametrize("exploit", EXPLOITS[2:4])
def test_without_the_check_files_do_get_in(trained_path, tmp_path, monkeypatch, exploit):
    folder, flag = tmp_path / "model", tmp_path / "executed"
    shutil.copytree(trained_path, folder)
    change(folder / "transformer" / "model", lambda encoder: exploit(encoder, flag))
    monkeypatch.setattr(shim, "_check_tokenizer", lambda files: None)
    spacy.load(folder)
    assert flag.exists()


def test_without_weights_only_mode_pickles_do_get_in(tmp_path):
    flag = tmp_path / "executed"
    for data in (pickle.dumps(Exploit(flag), protocol=2), torch_file(Exploit(flag))):
        with suppress(RuntimeError):  # for what comes behind the pickle
            torch.load(io.BytesIO(data), weights_only=False)
        assert flag.exists()
        flag.unlink()


def cut_weights(encoder: dict[str, Any]) -> None:
    encoder["state"] = encoder["state"][:1000]


def cut_tokenizer(encoder: dict[str, Any]) -> None:
    encoder["tokenizer"]["tokenizer.json"] = encoder["tokenizer"]["tokenizer.json"][:1000]


@pytest.mark.parametrize("cut", [cut_weights, cut_tokenizer])
def test_damage_is_an_error_of_ours(trained_path, tmp_path, cut):
    shutil.copytree(trained_path, tmp_path / "model")
    change(tmp_path / "model" / "transformer" / "model", cut)
    with pytest.raises(PipelineError, match="saved encoder cannot be loaded: it is damaged"):
        spacy.load(tmp_path / "model")


def test_a_saved_encoder_that_nobody_touched_is_loaded(trained, trained_path, tmp_path):
    shutil.copytree(trained_path, tmp_path / "model")
    change(tmp_path / "model" / "transformer" / "model", lambda encoder: None)
    loaded = spacy.load(tmp_path / "model")
    assert (loaded(TEXT)._.token_logits == trained(TEXT)._.token_logits).all()


def test_the_layer_norms_of_a_loaded_encoder_are_those_that_were_trained(trained, trained_path):
    def epsilons(nlp: Language) -> set[float]:
        encoder = nlp.get_pipe("transformer").model.transformer
        norms = [m.eps for m in encoder.modules() if isinstance(m, torch.nn.LayerNorm)]
        return {*norms, encoder.config.layer_norm_eps}

    assert epsilons(trained) == epsilons(spacy.load(trained_path)) == {1e-12}


def test_averaged_weights_reach_the_encoder(tiny_bert: Path):
    nlp = bert_pipeline(tiny_bert)
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.averages = {}
    for _ in range(3):
        step(nlp, make_examples(nlp), optimizer)
    encoder = nlp.get_pipe("transformer").model.layers[0].shims[0]
    name = "encoder.layer.0.output.dense.weight"

    def weight() -> torch.Tensor:
        return dict(encoder._model.named_parameters())[name].detach().clone()

    last, logits = weight(), nlp(TEXT)._.token_logits
    with nlp.use_params(optimizer.averages):
        average = torch.from_numpy(optimizer.averages[(encoder.id, name)])
        torch.testing.assert_close(weight(), average, rtol=0, atol=0)
        assert not torch.equal(weight(), last)
        assert (nlp(TEXT)._.token_logits != logits).any()
    assert torch.equal(weight(), last)
    assert (nlp(TEXT)._.token_logits == logits).all()
