"""`btl check` and `btl calibrate --maps-only` over tiny pipelines, and what goes with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.annotate.annotate import annotate_file
from spacy_btl.calibration.calibration_maps import ConfidenceMap
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.reference import COUNTS, DISTANCE, Reference
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.notes.entities import thinned
from spacy_btl.pipeline.annotations import FACTS, NEAREST
from spacy_btl.pipeline.knn_calibrator import find_calibrator
from spacy_btl.pipeline.unlike import is_far, unlike_source
from spacy_btl.web.session import opened, read_note
from tests.conftest import SENTENCES, make_corpus

STRANGE = "xq zv 9 9 9 kj 7 7 qq ww"


def run(*args: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def write_notes(path: Path, texts: list[str]) -> Path:
    lines = (json.dumps({"id": f"n{i}", "text": text}) + "\n" for i, text in enumerate(texts))
    path.write_text("".join(lines), encoding="utf-8")
    return path


def known_texts(n: int, ending: str) -> list[str]:
    return [f"{SENTENCES[i % 4][0]}{ending}{' .' * (i // 4)}" for i in range(n)]


@pytest.fixture(scope="module")
def model(trained_path, corpus_path, tmp_path_factory) -> Path:
    """A pipeline whose maps are fitted to 16 documents."""
    from spacy_btl.training.calibrate import calibrate

    folder = tmp_path_factory.mktemp("shift")
    write_docs(folder / "dev.spacy", make_corpus(spacy.blank("en"), repeat=4, ending=" today"))
    calibrate(
        str(trained_path),
        corpus_path,
        folder / "model",
        settings={"n_neighbors": 3},
        held_out=folder / "dev.spacy",
    )
    return folder / "model"


@pytest.fixture(scope="module")
def strange(tmp_path_factory) -> Path:
    texts = [STRANGE[i % 6 :] * 2 for i in range(12)]
    return write_notes(tmp_path_factory.mktemp("strange") / "notes.jsonl", texts)


def test_the_rows_of_a_doc_are_those_that_fitting_computes(model):
    """A document is the same row as held-out and as a note."""
    nlp = spacy.load(model)
    docs = make_corpus(spacy.blank("en"), repeat=4, ending=" today")
    rows = [doc.user_data[FACTS] for doc in nlp.pipe([doc.text for doc in docs])]
    reference = find_calibrator(nlp).calibrator.reference
    np.testing.assert_allclose(reference.rows, rows, atol=1e-4)
    assert reference.judged[:, 0].sum() == reference.rows[:, 1].sum()
    assert NEAREST not in nlp(SENTENCES[0][0]).user_data
    doc = nlp(SENTENCES[0][0])
    back = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    np.testing.assert_array_equal(back.user_data[FACTS], doc.user_data[FACTS])


def test_check_tells_strange_notes_and_not_others(model, strange, tmp_path):
    same = write_notes(tmp_path / "same.jsonl", known_texts(16, " today ."))
    status, output = run("check", model, same)
    assert status == 0, output
    assert "are like the 16 held-out documents" in output
    status, output = run("check", model, strange)
    assert status == 3, output
    assert "12 notes are unlike the 16 held-out documents" in output
    assert "calibrate --maps-only" in " ".join(output.split())
    assert "xq" not in output
    assert "zv" not in output


def test_check_names_what_is_missing(model, calibrated_path, trained_path, strange, tmp_path):
    for old in (calibrated_path, trained_path):
        status, output = run("check", old, strange)
        assert status == 1
        assert "does not know what its own notes are like" in output
        assert "calibrate --held-out" in output
    empty = write_notes(tmp_path / "empty.jsonl", ["", " "])
    status, output = run("check", model, empty)
    assert status == 1
    assert "no note with words" in output
    (tmp_path / "none.jsonl").write_text('{"id": "a", "text": null}\n')
    status, output = run("check", model, tmp_path / "none.jsonl")
    assert status == 1
    assert "no note can be read" in output


def test_a_pipeline_of_an_earlier_version_loads_and_finds_the_same(model, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(model, old)
    (old / "knn_calibrator" / "reference.safetensors").unlink()
    doc, before = (spacy.load(path)(SENTENCES[0][0]) for path in (old, model))
    assert [ent._.confidence for ent in doc.ents] == [ent._.confidence for ent in before.ents]
    assert FACTS not in doc.user_data
    assert run("check", old, tmp_path)[0] == 1
    data = {"datastore": b"not fitted", "maps": b"not fitted"}
    calibrator = Calibrator()
    for name, value in data.items():
        calibrator.from_bytes(name, value, where="here")
    assert calibrator.reference is None


def test_a_damaged_reference_is_refused(model, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(model, damaged)
    file = damaged / "knn_calibrator" / "reference.safetensors"
    file.write_bytes(file.read_bytes()[:-3])
    status, output = run("check", damaged, tmp_path)
    assert status == 1
    assert "reference.safetensors: it is damaged" in output


def test_annotate_warns_of_strange_notes_in_one_part_or_several(model, strange, tmp_path):
    for part_size in ("5", "1000"):
        output = tmp_path / f"out-{part_size}.jsonl"
        status, said = run("annotate", model, strange, output, "--part-size", part_size)
        assert status == 0, said
        assert "12 notes are unlike the 16 held-out documents" in said
    manifest = json.loads((tmp_path / "out-5.jsonl.manifest.json").read_text())
    assert "facts" not in manifest
    assert manifest["unlike"].startswith("The 12 notes are unlike")
    again = annotate_file(str(model), strange, output)
    assert again.unlike  # of the finished job
    same = write_notes(tmp_path / "same.jsonl", known_texts(16, " today ."))
    status, said = run("annotate", model, same, tmp_path / "same-out.jsonl")
    assert "unlike" not in said


def test_of_many_notes_some_are_compared():
    rows = [[float(i)] for i in range(1050)]
    assert len(thinned(rows, 100)) <= 100
    assert thinned(rows, 2000) == rows
    assert thinned(rows, 100)[-1][0] > 1000


def test_the_page_marks_a_note_that_is_far(model):
    nlp = spacy.load(model)
    calibrator = find_calibrator(nlp).calibrator
    column = len(COUNTS) + DISTANCE
    pipeline = opened(nlp)
    assert not read_note(pipeline, known_texts(1, " today .")[0]).far
    rows = calibrator.reference.rows.copy()
    rows[:, column] = np.linspace(0, 1e-6, len(rows))
    calibrator.reference = Reference(rows, calibrator.reference.judged)
    assert read_note(pipeline, STRANGE).far
    calibrator.reference = None
    assert not is_far(find_calibrator(nlp), nlp(STRANGE))
    assert unlike_source(nlp, []) == ""


@pytest.mark.parametrize("mode", ["flat", "overlapping"])
def test_recalibrate_fits_the_maps_alone(
    mode, model, calibrated_overlapping_path, overlapping_path, tmp_path
):
    start = model
    dev = tmp_path / "few.spacy"
    docs = make_corpus(spacy.blank("en"), repeat=2, ending=" in")
    if mode == "overlapping":
        from spacy_btl.training.calibrate import calibrate
        from tests.pipeline.test_overlapping import make_examples

        nlp = spacy.load(overlapping_path)
        docs = [example.reference for example in make_examples(nlp, repeat=2)]
        write_docs(tmp_path / "train.spacy", docs)
        behind = nlp.make_doc(". today")
        behind.set_ents([])  # annotated, and no entity
        docs = [spacy.tokens.Doc.from_docs([doc, behind]) for doc in docs]
        write_docs(dev, docs)
        start = tmp_path / "start"
        calibrate(
            str(overlapping_path),
            tmp_path / "train.spacy",
            start,
            settings={"n_neighbors": 3},
            held_out=dev,
        )
    else:
        write_docs(dev, docs)
    out = tmp_path / "out"
    status, output = run("calibrate", "--maps-only", start, dev, out)
    assert status == 0, output
    before, after = (find_calibrator(spacy.load(path)).calibrator for path in (start, out))
    for name in ("logits", "tags", "prior"):
        ours, theirs = (getattr(one.datastore, name) for one in (before, after))
        np.testing.assert_array_equal(ours, theirs)
    assert after.settings == before.settings
    assert after.maps != before.maps
    n = len(read_docs(dev, spacy.blank("en").vocab))
    assert len(after.reference.rows) == n
    assert run("calibrate", "--maps-only", start, dev, out)[0] == 1  # without --force
    assert run("calibrate", "--maps-only", start, dev, out, "--force")[0] == 0


def test_recalibrate_without_annotation_changes_the_prior_alone(model, strange, tmp_path):
    status, output = run(
        "calibrate", "--maps-only", model, strange, tmp_path / "out", "--unannotated"
    )
    assert status == 0, output
    assert "no annotation confirms" in output
    before, after = (
        find_calibrator(spacy.load(path)).calibrator for path in (model, tmp_path / "out")
    )
    assert after.maps.tokens == before.maps.tokens
    one, other = before.maps.confidence, after.maps.confidence
    assert isinstance(one, ConfidenceMap)
    assert (other.sharpness, other.certainty) == (one.sharpness, one.certainty)
    assert other.bias != one.bias
    assert after.reference is None
    text = SENTENCES[0][0]
    found = [
        [(ent.text, ent.label_) for ent in spacy.load(path)(text).ents]
        for path in (model, tmp_path / "out")
    ]
    assert found[0] == found[1]


def test_recalibrate_needs_maps_to_begin_with(calibrated_path, corpus_path, tmp_path):
    for options in ([], ["--unannotated"]):
        status, output = run(
            "calibrate", "--maps-only", calibrated_path, corpus_path, tmp_path / "o", *options
        )
        assert status == 1
        assert "no calibration maps to start from" in output
        assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--maps-only", "--tau", "0"], "--tau does not go with --maps-only"),
        (["--maps-only", "--fit-on", "crossfit"], "--fit-on does not go with --maps-only"),
        (["--maps-only", "--paths.dev", "x"], "--paths.dev does not go with --maps-only"),
        (["--unannotated"], "--unannotated goes with --maps-only --unannotated only"),
        (["--maps-only", "--id-column", "n"], "--id-column goes with --maps-only --unannotated"),
    ],
)
def test_options_that_maps_only_would_ignore_are_refused(options, message, model, tmp_path):
    status, output = run("calibrate", model, tmp_path / "x.spacy", tmp_path / "out", *options)
    assert status == 2
    assert message in " ".join(output.replace("│", " ").split())
