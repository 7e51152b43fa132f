"""`btl compile`: what it writes, says and refuses."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from thinc.api import Config
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl import compile_pipeline
from spacy_btl.compiled import compile as module
from spacy_btl.compiled.encoder import shim_of
from spacy_btl.compiled.engine import Network
from spacy_btl.errors import BtlWarning, PipelineError
from tests.conftest import bert_pipeline, make_examples, train


def run(*arguments: object):
    return CliRunner().invoke(app, ["btl", "compile", *map(str, arguments)])


def test_float32_needs_no_notes_and_keeps_the_maps(fitted_path, tmp_path):
    nlp = spacy.load(fitted_path)
    nlp.meta["promises"] = {"made": [], "decided_by": ""}  # of what the encoder was
    nlp.to_disk(tmp_path / "promised")
    made = compile_pipeline(str(tmp_path / "promised"), tmp_path / "out", precision="fp32")
    assert made.cosine == pytest.approx(1, abs=1e-5)
    assert made.identical == 1
    assert "as they were" in made.maps
    maps = [
        (path / "knn_calibrator" / "maps.safetensors").read_bytes()
        for path in (fitted_path, tmp_path / "out")
    ]
    assert maps[0] == maps[1]
    meta = json.loads((tmp_path / "out" / "meta.json").read_text())
    assert meta["compiled"]["precision"] == "fp32"
    assert "promises" not in meta


def test_bfloat16_is_small_and_close(fitted_path, tmp_path):
    made = compile_pipeline(str(fitted_path), tmp_path / "out", precision="bf16")
    assert 0.999 < made.cosine < 1
    assert "--calibration fits them" in made.maps
    wide, narrow = (
        len(shim_of(spacy.load(path).get_pipe("transformer").model).network.weights)
        for path in (compiled_copy(fitted_path, tmp_path), tmp_path / "out")
    )
    assert narrow < 0.6 * wide


def test_weights_in_int8_need_no_notes(fitted_path, tmp_path):
    made = compile_pipeline(str(fitted_path), tmp_path / "out")
    assert made.precision == "int8-weights"
    assert 0.999 < made.cosine < 1
    graph = shim_of(spacy.load(tmp_path / "out").get_pipe("transformer").model).network.graph
    constants = re.findall(rb'element_type="(\w+)" shape="([0-9, ]*)"', graph)
    # The layers that narrow vectors are not rounded; those that widen them, and positions, are.
    assert constants.count((b"f16", b"32, 64")) == 2
    assert constants.count((b"u8", b"64, 32")) == 3
    assert (b"f16", b"64, 32") not in constants
    assert (b"f32", b"32, 64") not in constants


def compiled_copy(fitted_path: Path, tmp_path: Path) -> Path:
    compile_pipeline(str(fitted_path), tmp_path / "fp32", precision="fp32")
    return tmp_path / "fp32"


def test_int8_fits_the_maps_to_enough_held_out_documents(
    fitted_path, held_out_path, tmp_path, monkeypatch
):
    with pytest.warns(BtlWarning, match=r"4 annotated documents .* 20 are needed"):
        few = compile_pipeline(
            str(fitted_path), tmp_path / "few", precision="bf16", calibration=held_out_path
        )
    assert "as they were" in few.maps
    monkeypatch.setattr(module, "ENOUGH_HELD_OUT", 4)
    made = compile_pipeline(
        str(fitted_path), tmp_path / "out", precision="int8", calibration=held_out_path
    )
    assert made.cosine > 0.97
    saved = spacy.load(tmp_path / "out").get_pipe("transformer").model
    assert b'element_type="i8"' in shim_of(saved).network.graph
    assert "fitted anew, to 4 documents" in made.maps
    assert sorted(tmp_path.iterdir()) == [tmp_path / "few", tmp_path / "out"]


def test_maps_are_not_fitted_to_what_the_calibrator_had(
    fitted_path, corpus_path, tmp_path, monkeypatch
):
    monkeypatch.setattr("spacy_btl.training.trained_on.MIN_TOKENS", 1)
    monkeypatch.setattr(module, "ENOUGH_HELD_OUT", 1)
    with pytest.warns(BtlWarning, match="the calibration maps stay those of float32"):
        made = compile_pipeline(
            str(fitted_path), tmp_path / "out", precision="bf16", calibration=corpus_path
        )
    assert "as they were" in made.maps


def test_mentions_that_overlap_stay(overlapping_path, tmp_path):
    compile_pipeline(str(overlapping_path), tmp_path / "out", precision="fp32")
    spans = []
    for path in (overlapping_path, tmp_path / "out"):
        nlp = spacy.load(path)
        doc = nlp("the patient had severe fever and cough")
        (group,) = doc.spans.values()
        spans.append([(span.start, span.end, span.label_) for span in group])
    assert spans[0] == spans[1]


def test_the_command_says_what_came_of_it(fitted_path, tmp_path):
    done = run(fitted_path, tmp_path / "out", "--precision", "fp32")
    assert done.exit_code == 0, done.output
    for said in ("MB before", "cosine", "both pipelines find there: 100.00%", "Saved to"):
        assert said in done.output
    again = run(fitted_path, tmp_path / "out", "--precision", "fp32")
    assert again.exit_code == 1
    assert "--force" in again.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_pipeline", "out", "--precision", "fp32"], "no package and no pipeline folder"),
        (["MODEL", "out", "--precision", "int8"], "int8 needs notes"),
        (["MODEL", "out", "--calibration", "missing.spacy"], "missing.spacy: no such file"),
        (["MODEL", "out", "--calibration", "empty.spacy"], "empty.spacy: contains no document"),
        (["COMPILED", "out", "--precision", "fp32"], "compiled already"),
        (["MODEL", "folder", "--precision", "fp32"], "holds no pipeline"),
    ],
)
def test_what_cannot_be_used_is_refused_in_a_line(
    arguments, said, fitted_path, compiled_path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    DocBin().to_disk("empty.spacy")
    Path("folder").mkdir()
    Path("folder", "notes.txt").write_text("mine")
    before = sorted(Path().rglob("*"))
    places = {"MODEL": str(fitted_path), "COMPILED": str(compiled_path)}
    done = run(*(places.get(argument, argument) for argument in arguments))
    assert done.exit_code == 1
    assert said in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert sorted(Path().rglob("*")) == before


def two_listeners(tiny_bert, path):
    nlp = bert_pipeline(tiny_bert)
    config = nlp.get_pipe_config("ner")
    nlp.add_pipe("btl_ner", name="second", config={"model": config["model"]})
    train(nlp, steps=1).to_disk(path)


def no_listener(tiny_bert, path):
    nlp = train(bert_pipeline(tiny_bert), steps=1)
    nlp.remove_pipe("ner")
    nlp.to_disk(path)


def own_encoder(tiny_bert, path):
    nlp = train(bert_pipeline(tiny_bert), steps=1)
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    nlp.to_disk(path)


def blank(tiny_bert, path):
    spacy.blank("en").to_disk(path)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (two_listeners, "one pipe has to listen to 'transformer', and 2 do"),
        (no_listener, "it has no btl_ner"),
        (own_encoder, "needs one pipe with an encoder"),
        (blank, "it has no btl_ner"),
    ],
)
def test_pipelines_of_another_form_are_refused(make, said, tiny_bert, tmp_path):
    make(tiny_bert, tmp_path / "model")
    with pytest.raises(PipelineError, match=said):
        compile_pipeline(str(tmp_path / "model"), tmp_path / "out", precision="fp32")
    assert not (tmp_path / "out").exists()


def test_training_is_refused_where_the_optimizer_refers_to_other_settings(fitted_path, tmp_path):
    nlp = spacy.load(fitted_path)
    nlp.config["training"]["optimizer"]["learn_rate"] = {
        "@schedules": "warmup_linear.v1",
        "warmup_steps": 1,
        "total_steps": "${training.max_steps}",
        "initial_rate": 0.001,
    }
    nlp.to_disk(tmp_path / "model")
    compile_pipeline(str(tmp_path / "model"), tmp_path / "compiled", precision="fp32")
    compiled = spacy.load(tmp_path / "compiled")
    with pytest.raises(PipelineError, match="compiled pipeline cannot be trained"):
        compiled.update(make_examples(compiled))


def test_a_folder_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "note.txt").write_text("Fever.")
    with pytest.raises(PipelineError, match=r"x cannot be written: .*note.txt is not a folder"):
        compile_pipeline(str(tmp_path / "gone"), tmp_path / "note.txt" / "y" / "x")


def test_a_wrong_export_is_never_written(fitted_path, tmp_path, monkeypatch):
    right = Network.run
    monkeypatch.setattr(Network, "run", lambda self, inputs: right(self, inputs) + np.float32(0.1))
    with pytest.raises(PipelineError, match="computes other vectors than torch"):
        compile_pipeline(str(fitted_path), tmp_path / "out", precision="fp32")
    assert list(tmp_path.iterdir()) == []


def test_a_poor_precision_is_refused(fitted_path, tmp_path, monkeypatch):
    monkeypatch.setitem(module.COSINES, "bf16", 1.1)
    with pytest.raises(PipelineError, match=r"cannot be compiled in bf16: the mean cosine"):
        compile_pipeline(str(fitted_path), tmp_path / "out", precision="bf16")
    assert list(tmp_path.iterdir()) == []


def test_the_engine_is_asked_for_first(fitted_path, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(PipelineError, match=r"nncf is not installed.*'\.\[compile\]' in the clone"):
        compile_pipeline(str(fitted_path), tmp_path / "out")


def test_the_saved_config_has_the_settings_and_no_path(compiled_path):
    config = Config().from_disk(compiled_path / "config.cfg")
    block = config["components"]["transformer"]
    assert block["factory"] == "tok2vec"
    assert block["model"]["window"] == 48
    assert config["components"]["ner"]["model"]["tok2vec"] == {
        "@architectures": "spacy.Tok2VecListener.v1",
        "width": 32,
        "upstream": "*",
    }
    assert str(Path.home()) not in (compiled_path / "config.cfg").read_text()
