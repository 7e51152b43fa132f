"""Pipelines on disk: loaded, saved whole or not at all, and without a trace of the machine."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from spacy_btl.errors import FileError, PipelineError
from spacy_btl.pipelines import (
    base_name,
    fingerprint,
    forget_paths,
    load_pipeline,
    refuse_foreign_folder,
    save_whole,
)
from spacy_btl.training.ensemble import ensemble
from tests.conftest import SENTENCES, bert_pipeline, make_examples, train

TEXT = SENTENCES[0][0]


def test_loads_a_folder(trained_path):
    assert load_pipeline(str(trained_path)).pipe_names == ["transformer", "ner"]


def test_a_name_of_nothing_is_a_clear_error(tmp_path):
    for name in ("en_no_such_package", str(tmp_path / "gone")):
        with pytest.raises(PipelineError, match="no package and no pipeline folder") as caught:
            load_pipeline(name)
        assert f"'{name}'" in str(caught.value)


def test_a_folder_of_something_else_is_a_clear_error(tmp_path):
    with pytest.raises(PipelineError, match="holds no complete pipeline"):
        load_pipeline(str(tmp_path))


@pytest.mark.parametrize("part", ["config.cfg", "meta.json", "ner/model", "transformer/model"])
def test_an_incomplete_pipeline_is_an_error_that_names_what_is_missing(trained, tmp_path, part):
    trained.to_disk(tmp_path)
    (tmp_path / part).unlink()
    with pytest.raises(PipelineError, match="holds no complete pipeline") as caught:
        load_pipeline(str(tmp_path))
    assert Path(part).name in str(caught.value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/someone/corpus/train.spacy", "train.spacy"),
        ("corpus/train.spacy", "corpus/train.spacy"),
        ("dmis-lab/biobert-base-cased-v1.1", "dmis-lab/biobert-base-cased-v1.1"),
        ("${paths.train}", "${paths.train}"),
        ("/", "/"),
        ("", ""),
    ],
)
def test_base_name_cuts_absolute_paths_only(value, expected):
    assert base_name(value) == expected


def all_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def owned_encoder(tiny_bert: Path) -> spacy.language.Language:
    """A `btl_ner` with an encoder of its own."""
    nlp = spacy.blank("en")
    encoder = {
        "@architectures": "spacy_btl.WindowedTok2Vec.v1",
        "pooling": {"@layers": "reduce_mean.v1"},
        "encoder": {
            "@architectures": "spacy_btl.WindowedTransformer.v1",
            "name": str(tiny_bert),
            "window": 48,
            "overlap": 8,
        },
    }
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": encoder}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    nlp.initialize(lambda: make_examples(nlp))
    return nlp


@spacy.Language.factory("tests_pipe_with_a_path", default_config={"path": ""})
def make_pipe_with_a_path(nlp, name, path):
    return lambda doc: doc


@pytest.mark.parametrize("encoder", ["shared", "owned"])
def test_no_file_holds_a_path_of_the_machine(encoder, tiny_bert, trained_path, tmp_path):
    nlp = spacy.load(trained_path) if encoder == "shared" else owned_encoder(tiny_bert)
    nlp.add_pipe("tests_pipe_with_a_path", config={"path": str(tmp_path / "drugs.txt")})
    nlp.config["paths"]["train"] = str(tmp_path / "train.spacy")
    nlp.config["corpora"]["train"]["path"] = str(tmp_path / "train.spacy")
    nlp.config["paths"]["dev"] = "corpus/dev.spacy"
    traces = [str(path).encode() for path in (tiny_bert, tmp_path, Path(tempfile.gettempdir()))]
    nlp.to_disk(tmp_path / "before")
    assert all(trace in all_bytes(tmp_path / "before") for trace in traces)  # the search finds them

    forget_paths(nlp)
    nlp.to_disk(tmp_path / "after")
    assert not any(trace in all_bytes(tmp_path / "after") for trace in traces)
    back = spacy.load(tmp_path / "after")
    assert back.config["paths"]["train"] == "train.spacy"
    assert back.config["paths"]["dev"] == "corpus/dev.spacy"
    assert back.config["corpora"]["train"]["path"] == "train.spacy"
    assert back.get_pipe_config("tests_pipe_with_a_path")["path"] == "drugs.txt"
    assert tiny_bert.name in (tmp_path / "after" / "config.cfg").read_text()
    expected = nlp(TEXT)
    assert [(e.start, e.end, e.label) for e in back(TEXT).ents] == [
        (e.start, e.end, e.label) for e in expected.ents
    ]
    assert (back(TEXT)._.token_logits == expected._.token_logits).all()


def test_refuses_a_folder_or_file_that_is_no_pipeline(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    for output in (tmp_path, tmp_path / "thesis.txt"):
        with pytest.raises(PipelineError, match="holds no pipeline: give another folder"):
            refuse_foreign_folder(output)


def test_accepts_a_new_folder_an_empty_one_and_an_earlier_pipeline(trained_path, tmp_path):
    for output in (tmp_path / "new", tmp_path, trained_path):
        refuse_foreign_folder(output)


def test_saving_replaces_an_earlier_pipeline_whole(trained, tmp_path):
    output = tmp_path / "models" / "mine"
    save_whole(trained, output)
    (output / "stale").mkdir()
    save_whole(trained, output)
    assert not (output / "stale").exists()
    assert [path.name for path in output.parent.iterdir()] == ["mine"]
    assert spacy.load(output)(TEXT).ents


class Failing:
    """A pipe that cannot be saved."""

    def __call__(self, doc):
        return doc

    def to_disk(self, path, exclude=()):
        path.mkdir()
        raise RuntimeError("no more ink")


@spacy.Language.factory("tests_failing_pipe")
def make_failing(nlp, name):
    return Failing()


@pytest.mark.parametrize("earlier", [True, False])
def test_a_failure_leaves_what_was_there(trained, trained_path, tmp_path, earlier):
    output = tmp_path / "model"
    if earlier:
        save_whole(trained, output)
    before = all_bytes(tmp_path)
    nlp = spacy.load(trained_path)
    nlp.add_pipe("tests_failing_pipe")
    with pytest.raises(RuntimeError, match="no more ink"):
        save_whole(nlp, output)
    assert all_bytes(tmp_path) == before
    assert list(tmp_path.iterdir()) == ([output] if earlier else [])


def test_a_place_that_cannot_be_written_is_a_clear_error(trained, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=r"model: cannot be written \("):
        save_whole(trained, tmp_path / "file" / "model")


def test_an_earlier_pipeline_is_put_back_if_the_last_step_fails(trained, tmp_path, monkeypatch):
    output = tmp_path / "pipeline"
    save_whole(trained, output)
    rename = Path.rename

    def fail_for_the_new(self, target):
        if self.name == "new":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(FileError, match="No space left"):
        save_whole(trained, output)
    assert load_pipeline(str(output)).pipe_names == ["transformer", "ner"]
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]


def test_texts_are_saved_with_a_pipeline(trained, tmp_path):
    save_whole(trained, tmp_path / "model", texts={"README.md": "95% – good\n"})
    assert (tmp_path / "model" / "README.md").read_bytes() == "95% – good\n".encode()


def test_the_fingerprint_is_of_names_and_bytes(trained_path, tmp_path):
    before = fingerprint(trained_path)
    copy = shutil.copytree(trained_path, tmp_path / "copy")
    assert fingerprint(copy) == before
    for name in ("meta.json", "README.md"):  # as a package has them
        (copy / name).write_text("{}")
    assert fingerprint(copy) == before
    (copy / "vocab" / "strings.json").rename(copy / "vocab" / "other.json")
    renamed = fingerprint(copy)
    with (copy / "config.cfg").open("a") as file:
        file.write("\n")
    assert len({before, renamed, fingerprint(copy)}) == 3


def test_a_damaged_file_is_a_clear_error(trained, tmp_path):
    trained.to_disk(tmp_path)
    model = tmp_path / "ner" / "model"
    model.write_bytes(model.read_bytes()[:100])
    with pytest.raises(PipelineError, match=r"Cannot load the pipeline .* damaged"):
        load_pipeline(str(tmp_path))


def test_a_folder_with_more_than_a_pipeline_is_refused(trained, tmp_path):
    trained.to_disk(tmp_path)
    refuse_foreign_folder(tmp_path)
    (tmp_path / ".git").mkdir()
    with pytest.raises(PipelineError, match=r"holds more than a pipeline.*'.git'"):
        refuse_foreign_folder(tmp_path)


def test_a_path_in_a_list_is_forgotten():
    nlp = spacy.blank("en")
    nlp.config["training"]["before_to_disk"] = {"paths": ["/home/someone/a.spacy", {"b": "/c/d"}]}
    forget_paths(nlp)
    assert nlp.config["training"]["before_to_disk"] == {"paths": ["a.spacy", {"b": "d"}]}


# A pipeline that is saved twice, or loaded and saved, has the same bytes: one fingerprint.

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
