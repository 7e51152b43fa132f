"""A pipeline that is saved twice, or loaded and saved, has the same bytes: one fingerprint."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from spacy_btl.pipelines import fingerprint
from spacy_btl.training.ensemble import ensemble
from tests.conftest import SENTENCES, bert_pipeline, make_examples, train

KINDS = ("shared", "owned", "ensemble", "hash embeddings")


@pytest.fixture(scope="module", params=KINDS)
def pipeline(request, calibrated_path, trained_path, tmp_path_factory) -> Language:
    """A pipeline with each kind of network, and a calibrator with maps where there is one."""
    if request.param == "shared":
        nlp = spacy.load(calibrated_path)
        nlp.get_pipe("knn_calibrator").fit_maps(make_examples(nlp))
        return nlp
    if request.param == "owned":
        nlp = spacy.load(trained_path)
        nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
        nlp.remove_pipe("transformer")
        return nlp
    if request.param == "ensemble":
        path = tmp_path_factory.mktemp("ensemble") / "model"
        ensemble([str(trained_path), str(trained_path)], path)
        return spacy.load(path)
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", name="ner")
    return train(nlp, steps=1)


def files(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def differing(one: Path, other: Path) -> list[str]:
    first, second = files(one), files(other)
    return sorted(name for name in first | second if first.get(name) != second.get(name))


def test_saving_twice_and_loading_and_saving_give_the_same_bytes(pipeline, tmp_path):
    pipeline.to_disk(tmp_path / "first")
    for note in [text for text, _ in SENTENCES] * 2:  # nothing of them stays
        pipeline(note)
    pipeline.to_disk(tmp_path / "second")
    assert differing(tmp_path / "first", tmp_path / "second") == []
    before = "first"
    for after in ("third", "fourth"):
        nlp = spacy.load(tmp_path / before)
        nlp.to_disk(tmp_path / after)
        assert differing(tmp_path / "first", tmp_path / after) == []
        assert nlp.to_bytes() == pipeline.to_bytes()
        before = after
    assert fingerprint(tmp_path / "fourth") == fingerprint(tmp_path / "first")


def test_a_pipeline_from_bytes_is_saved_as_it_was(pipeline, tmp_path):
    pipeline.to_disk(tmp_path / "first")
    spacy.load(tmp_path / "first").from_bytes(pipeline.to_bytes()).to_disk(tmp_path / "second")
    assert differing(tmp_path / "first", tmp_path / "second") == []


def test_no_temporary_folder_is_saved(pipeline, tmp_path, monkeypatch):
    pipeline.to_disk(tmp_path / "first")
    (tmp_path / "here-it-was-loaded").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "here-it-was-loaded"))
    nlp = spacy.load(tmp_path / "first")
    nlp(SENTENCES[0][0])
    nlp.to_disk(tmp_path / "second")
    found = [name for name, data in files(tmp_path / "second").items() if b"here-it-was" in data]
    assert found == []


LOAD_AND_SAVE = "import sys, spacy; spacy.load(sys.argv[1]).to_disk(sys.argv[2])"


@pytest.mark.slow
def test_another_process_saves_the_same_bytes(pipeline, tmp_path):
    pipeline.to_disk(tmp_path / "here")
    subprocess.run(
        [sys.executable, "-c", LOAD_AND_SAVE, tmp_path / "here", tmp_path / "there"],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        check=True,
    )
    assert differing(tmp_path / "here", tmp_path / "there") == []


def test_an_encoder_that_is_not_initialized_is_saved_and_loaded(tiny_bert, tmp_path):
    nlp = bert_pipeline(tiny_bert)
    nlp.get_pipe("transformer").to_disk(tmp_path / "first")
    nlp.get_pipe("transformer").from_disk(tmp_path / "first").to_disk(tmp_path / "second")
    assert differing(tmp_path / "first", tmp_path / "second") == []
