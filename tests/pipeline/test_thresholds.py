"""The least confidence that a command is told."""

import json
from collections import Counter

import pytest
import spacy
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.errors import CalibratorError
from spacy_btl.notes.entities import mentions_of, spans_keys
from spacy_btl.pipeline.thresholds import Thresholds, read_thresholds, set_thresholds
from tests.annotate.conftest import write_notes
from tests.conftest import SENTENCES

TEXTS = [text for text, _ in SENTENCES]


def test_a_number_is_for_all_types_and_a_name_for_one():
    assert read_thresholds([]) is None
    assert read_thresholds(["0.5"]) == Thresholds((), 0.5)
    assert read_thresholds(["A=B=0.25", "0.5", "C=1"]) == Thresholds((("A=B", 0.25), ("C", 1)), 0.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["high"], "'high' is no confidence"),
        (["Sign=1.5"], "is no confidence"),
        (["Sign=nan"], "is no confidence"),
        (["Sign=0.5", "Sign=0.6"], "of Sign is there twice"),
        (["0.5", "0.6"], "of all types is there twice"),
    ],
)
def test_what_is_no_confidence_is_refused(given, message):
    with pytest.raises(CalibratorError, match=message):
        read_thresholds(given)


@pytest.mark.parametrize("path", ["calibrated_path", "calibrated_overlapping_path"])
def test_entities_of_less_confidence_are_left_out_by_type(path, request):
    nlp = spacy.load(request.getfixturevalue(path))

    def found():
        docs = nlp.pipe(TEXTS)
        spans = [span for doc in docs for span in mentions_of(doc, spans_keys(nlp))]
        return [(span.label_, span._.confidence) for span in spans]

    every = found()
    (common, _), *_ = Counter(label for label, _ in every).most_common()
    limit = max(value for label, value in every if label == common)
    set_thresholds(nlp, Thresholds(((common, limit),)))
    kept = [(label, value) for label, value in every if label != common or value >= limit]
    assert found() == kept
    assert 0 < len(kept) < len(every)


def test_a_type_that_is_not_there_and_a_pipeline_without_confidence_are_refused(
    calibrated_path, trained_path
):
    with pytest.raises(CalibratorError, match="no type Drug"):
        set_thresholds(spacy.load(calibrated_path), Thresholds((("Drug", 0.5),)))
    with pytest.raises(CalibratorError, match="btl calibrate"):
        set_thresholds(spacy.load(trained_path), Thresholds((), 0.5))


def test_annotate_says_how_many_are_unsure_and_leaves_them_out(calibrated_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", list(enumerate(TEXTS)))
    arguments = ["annotate", str(calibrated_path), str(notes)]
    result = CliRunner().invoke(btl, [*arguments, str(tmp_path / "all.jsonl")])
    rows = list(map(json.loads, (tmp_path / "all.jsonl").read_text().splitlines()))
    values = sorted(row["confidence"] for row in rows)
    unsure = sum(value < 0.5 for value in values)
    assert (f"below 0.5: {unsure} of {len(rows)}" in result.output) == bool(unsure)
    limit = values[len(values) // 2]
    options = ["--min-confidence", f"{limit}"]
    result = CliRunner().invoke(btl, [*arguments, str(tmp_path / "sure.jsonl"), *options])
    assert result.exit_code == 0, result.output
    kept = list(map(json.loads, (tmp_path / "sure.jsonl").read_text().splitlines()))
    assert kept == [row for row in rows if row["confidence"] >= limit]
    again = CliRunner().invoke(btl, [*arguments, str(tmp_path / "sure.jsonl")])
    assert again.exit_code == 1
    assert "min confidence" in again.output
