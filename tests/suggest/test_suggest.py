"""`btl suggest`: what it chooses from files of notes, what it leaves out, and what it refuses."""

import json
import math
import re

import numpy as np
import pytest
import spacy
from scipy.special import softmax
from typer.testing import CliRunner

from spacy_btl.annotate.annotate import Options as AnnotateOptions
from spacy_btl.annotate.annotate import annotate_file
from spacy_btl.cli import btl
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import BtlError, BtlWarning
from spacy_btl.pipeline.logits import hiding_pipes
from spacy_btl.suggest.suggest import Options, suggest_notes
from spacy_btl.training.calibrate import calibrate
from tests.annotate.conftest import POISON, write_notes
from tests.conftest import SENTENCES

RUNNER = CliRunner()
NOTES = [
    ("a", "severe pain in the left arm"),
    ("b", "crp was 9 mg / l"),
    ("c", "given aspirin daily and no note of the patient"),
    ("d", "mild cough , severe fever , crp was 7"),
    ("e", "the patient was in"),
]


@pytest.fixture
def notes(tmp_path):
    return write_notes(tmp_path / "notes.jsonl", NOTES)


def ranking(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_notes_are_ranked_by_what_they_teach(calibrated_path, corpus_path, notes, tmp_path):
    output = tmp_path / "next.jsonl"
    suggestions = suggest_notes(str(calibrated_path), notes, output, Options(n=1))
    nlp = spacy.load(calibrated_path)
    calibrator = nlp.get_pipe("knn_calibrator").calibrator
    rows = calibrator.datastore
    docs = read_docs(corpus_path, nlp.vocab)
    labels = nlp.get_pipe("ner").labels
    counts = np.array([sum(e.label_ == label for d in docs for e in d.ents) for label in labels])
    for name in hiding_pipes(nlp):
        nlp.disable_pipe(name)
    near = np.quantile(
        [
            np.linalg.norm(row - rows.logits[rows.documents != document], axis=1).min()
            for row, document in zip(rows.logits, rows.documents, strict=True)
        ],
        0.9,
    )
    gains, unlike = {}, {}
    for name, text in NOTES:
        doc = nlp(text)
        p, logits = doc._.token_probabilities[:, 1:].astype(float), doc._.token_logits
        distances = np.array([np.linalg.norm(row - rows.logits, axis=1).min() for row in logits])
        novelty = np.minimum(distances / max(near, 1e-6), 1)
        expected = np.zeros(len(labels))
        for before, here, weight in zip([p[0] * 0, *p], p, novelty, strict=False):
            expected += np.maximum(here**2 - before**2, 0) * weight
        gains[name] = ((1 + counts) ** -0.5 - (1 + counts + expected) ** -0.5).sum()
        unlike[name] = (distances >= near).mean()
    best = max(gains, key=lambda name: gains[name] / len(nlp(dict(NOTES)[name])) ** 0.5)
    assert [one.id for one in suggestions.chosen] == [best]
    assert suggestions.chosen[0].gain == pytest.approx(gains[best], rel=1e-3)
    assert suggestions.chosen[0].unlike == pytest.approx(unlike[best])
    (row,) = ranking(output)
    assert (row["id"], row["rank"], row["why"]) == (best, 1, suggestions.chosen[0].why)


def test_reasons_name_types_and_quote_nothing(calibrated_path, notes, tmp_path):
    output = tmp_path / "next.jsonl"
    result = RUNNER.invoke(btl, ["suggest", str(calibrated_path), str(notes), str(output), "-n5"])
    assert result.exit_code == 0, result.output
    rows = ranking(output)
    assert sorted(row["id"] for row in rows) == ["a", "b", "c", "d", "e"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    words = {word for _, text in NOTES for word in text.split() if len(word) > 4}
    for text in (result.output, output.read_text("utf-8")):
        assert not words & set(text.split())
    assert "of its words unlike any annotated one" in rows[0]["why"]
    (label, number), *_ = rows[0]["expected"].items()
    assert label in ("Severity", "Sign", "Test", "Value")
    named = re.match(rf"expects ([0-9.]+) {label}", rows[0]["why"])
    assert float(named[1]) == pytest.approx(number, abs=0.06)
    assert "5 notes, 5 chosen" in result.output


def test_the_same_input_gives_the_same_bytes(calibrated_path, notes, tmp_path):
    for name in ("one.jsonl", "two.jsonl"):
        suggest_notes(str(calibrated_path), notes, tmp_path / name, Options(n=3))
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_what_is_annotated_is_left_out(calibrated_path, corpus_path, notes, tmp_path):
    """By the ids of an earlier ranking, by those and the texts of a corpus, in any order."""
    first = suggest_notes(str(calibrated_path), notes, tmp_path / "1.jsonl", Options(n=2)).chosen
    nlp = spacy.blank("en")
    docs = [nlp.make_doc("CRP was  9 mg / l"), nlp.make_doc("another text")]
    docs[1].user_data["note_id"] = "e"
    write_docs(tmp_path / "annotated.spacy", docs)
    earlier = [tmp_path / "1.jsonl", tmp_path / "annotated.spacy"]
    options = Options(n=9, annotated=earlier)
    second = suggest_notes(str(calibrated_path), notes, tmp_path / "2.jsonl", options)
    gone = {one.id for one in first} | {"b", "e"}
    assert {one.id for one in second.chosen} == {name for name, _ in NOTES} - gone
    assert second.passed == {"annotated already": len(gone)}


def test_notes_of_the_datastore_are_left_out(trained_path, tmp_path):
    """Without any id or text: by the places of their words."""
    nlp = spacy.blank("en")
    text = " , ".join(text for text, _ in SENTENCES)
    doc = nlp.make_doc(text)
    doc.set_ents([doc.char_span(23, 28, "Sign")])
    write_docs(tmp_path / "long.spacy", [doc, nlp.make_doc("no cough"), *[]])
    calibrate(
        str(trained_path), tmp_path / "long.spacy", tmp_path / "model", settings={"n_neighbors": 3}
    )
    notes = write_notes(tmp_path / "notes.jsonl", [(1, text), (2, NOTES[0][1])])
    found = suggest_notes(str(tmp_path / "model"), notes, tmp_path / "out.jsonl")
    assert [one.id for one in found.chosen] == [2]
    assert found.passed == {"annotated already": 1}


@pytest.mark.parametrize("name", ["notes.jsonl", "given.jsonl", "folder/next.jsonl"])
def test_a_ranking_never_replaces_an_input(notes, tmp_path, name):
    """Not even with --force: the notes, what was given away, and a folder of notes."""
    given = write_notes(tmp_path / "given.jsonl", [("a", "")])
    folder = write_notes(tmp_path / "folder", [("a", "fever")])
    inputs = [str(folder if name.startswith("folder") else notes), str(tmp_path / name)]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    command = ["suggest", "no-model", *inputs, "--force", "--annotated", str(given)]
    result = RUNNER.invoke(btl, command)
    assert result.exit_code == 1
    assert "is an input, or inside one" in " ".join(result.output.split())
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_empty_unreadable_and_copied_notes_are_counted(calibrated_path, tmp_path):
    texts = [("a", "severe pain"), ("b", ""), ("c", " \n"), ("d", None), ("e", "Severe  PAIN")]
    notes = write_notes(tmp_path / "notes.jsonl", texts)
    found = suggest_notes(str(calibrated_path), notes, tmp_path / "out.jsonl")
    assert [one.id for one in found.chosen] == ["a"]
    assert found.passed == {"without words": 2, "not readable": 1, "with the text of another": 1}
    assert found.first_failure.endswith("line 4: no text")


def test_a_pipeline_without_calibrator_or_neighbours_works(trained_path, notes, tmp_path):
    """Then by the softmax, and nothing is known to be unlike."""
    nlp = spacy.load(trained_path)
    counts = nlp.get_pipe("ner").tag_counts[1:]
    gains, ranks = [], []
    for _, text in NOTES:
        p = softmax(nlp(text)._.token_logits.astype(float), axis=1)[:, 1:]
        rises = np.maximum(np.diff(p**2, axis=0, prepend=0), 0).sum(axis=0)
        gain = ((1 + counts) ** -0.5 - (1 + counts + rises) ** -0.5).sum()
        gains.append(gain)
        ranks.append(gain / len(p) ** 0.5)
    output = tmp_path / "next.jsonl"
    result = RUNNER.invoke(btl, ["suggest", str(trained_path), str(notes), str(output), "-n1"])
    assert result.exit_code == 0, result.output
    assert "Confidence is not calibrated" in result.output
    (row,) = ranking(output)
    assert row["id"] == NOTES[int(np.argmax(ranks))][0]
    assert row["gain"] == pytest.approx(gains[int(np.argmax(ranks))], rel=1e-3)
    assert row["unlike"] is None
    assert "unlike" not in row["why"]
    nlp.add_pipe("knn_calibrator", config={"knn_weight": 0, "transition_weight": 0})
    nlp.to_disk(tmp_path / "softmax")
    found = suggest_notes(str(tmp_path / "softmax"), notes, tmp_path / "other.jsonl", Options(n=1))
    assert found.chosen[0].id == row["id"]


def test_mentions_that_overlap(overlapping_path, notes, tmp_path):
    found = suggest_notes(str(overlapping_path), notes, tmp_path / "out.jsonl", Options(n=5))
    assert len(found.chosen) == 5
    types = set(spacy.load(overlapping_path).get_pipe("ner").labels)
    for one in found.chosen:
        assert set(one.expected) <= types
        assert math.isfinite(one.gain)
        assert 0 <= one.doubt <= 1


def test_the_best_are_found_among_many(calibrated_path, tmp_path, monkeypatch):
    """Only the notes of the greatest gain are compared with each other."""
    many = [(i, f"{text} {i}") for i, (_, text) in enumerate(NOTES * 4)]
    notes = write_notes(tmp_path / "notes.jsonl", many)
    best = suggest_notes(str(calibrated_path), notes, tmp_path / "1.jsonl", Options(n=1)).chosen[0]
    monkeypatch.setattr("spacy_btl.suggest.suggest.COMPARED", 3)
    found = suggest_notes(str(calibrated_path), notes, tmp_path / "2.jsonl", Options(n=3))
    assert found.chosen[0].id == best.id
    assert len(found.chosen) == 3


@pytest.mark.parametrize(("cost", "best"), [("0", "long"), ("1", "short")])
def test_the_cost_is_given(cost, best, calibrated_path, tmp_path):
    long = " ".join(["no note of the patient"] * 8)
    texts = [("short", "severe pain"), ("long", f"severe pain {long} severe fever")]
    notes = write_notes(tmp_path / "notes.jsonl", texts)
    arguments = ["suggest", str(calibrated_path), str(notes), str(tmp_path / "out.jsonl")]
    result = RUNNER.invoke(btl, [*arguments, "--n", "1", "--cost", cost])
    assert result.exit_code == 0, result.output
    assert ranking(tmp_path / "out.jsonl")[0]["id"] == best


def refused(arguments):
    result = RUNNER.invoke(btl, ["suggest", *map(str, arguments)])
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return " ".join(result.output.split())


def test_bad_input_is_refused_in_a_line(calibrated_path, notes, tmp_path):
    out = tmp_path / "out.jsonl"
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"id": 1, "text": "severe pain"}\n{"id": 2, "tex')
    assert "line 2" in refused([calibrated_path, broken, out])
    assert "JSON lines" in refused([calibrated_path, notes, tmp_path / "out.csv"])
    assert "no such file" in refused([calibrated_path, tmp_path / "none.jsonl", out])
    missing = tmp_path / "none.spacy"
    assert "no such file" in refused([calibrated_path, notes, out, "--annotated", missing])
    message = refused([calibrated_path, notes, out, "--annotated", notes])
    assert "no note is left to choose: 5 annotated already" in message
    spacy.blank("en").to_disk(tmp_path / "blank")
    assert "no btl_ner" in refused([tmp_path / "blank", notes, out])
    assert not out.exists()
    out.write_text("mine")
    assert "exists" in refused([calibrated_path, notes, out])
    assert out.read_text() == "mine"


def test_frequencies_that_are_not_known_are_refused(trained_path, notes, tmp_path):
    nlp = spacy.load(trained_path)
    ner = nlp.get_pipe("ner")
    ner.cfg["tag_counts"] = [0] * len(ner.cfg["tag_counts"])
    nlp.to_disk(tmp_path / "imported")
    with pytest.raises(BtlError, match="btl calibrate"):
        suggest_notes(str(tmp_path / "imported"), notes, tmp_path / "out.jsonl")


def test_annotate_writes_the_chosen_notes_alone(calibrated_path, notes, tmp_path):
    chosen = suggest_notes(
        str(calibrated_path), notes, tmp_path / "next.jsonl", Options(n=2)
    ).chosen
    options = AnnotateOptions(only=tmp_path / "next.jsonl")
    counts = annotate_file(str(calibrated_path), notes, tmp_path / "brat", options)
    assert counts.notes == 2
    written = {path.stem for path in (tmp_path / "brat").glob("*.txt")}
    assert written == {one.id for one in chosen}


def test_ids_of_the_ranking_that_are_not_among_the_notes_are_counted(calibrated_path, tmp_path):
    only = tmp_path / "next.jsonl"
    only.write_text("".join(json.dumps({"id": name}) + "\n" for name in ("a", "gone", "b", "lost")))
    notes, out = write_notes(tmp_path / "notes.jsonl", NOTES), tmp_path / "out.jsonl"
    options = AnnotateOptions(only=only)
    with pytest.warns(BtlWarning, match=re.escape(f"2 of its 4 ids are not in {notes}.")) as seen:
        counts = annotate_file(str(calibrated_path), notes, out, options)
    assert (counts.notes, len(seen)) == (2, 1)
    others = write_notes(tmp_path / "others.jsonl", [("c", "mild cough")])
    message = re.escape(f"{only}: of its 4 ids none is among the notes of {others}.")
    with pytest.raises(BtlError, match=message):
        annotate_file(str(calibrated_path), others, tmp_path / "other", options)
    assert not (tmp_path / "other").exists()


def test_the_corpus_of_the_training_is_read_where_it_is(trained_path, notes, tmp_path, monkeypatch):
    nlp = spacy.load(trained_path)
    docs = [nlp.make_doc(NOTES[0][1])]
    write_docs(tmp_path / "train.spacy", docs)
    assert len(read_docs(tmp_path / "train.spacy", nlp.vocab)) == 1
    nlp.config["paths"]["train"] = str(tmp_path / "train.spacy")
    nlp.to_disk(tmp_path / "model")
    found = suggest_notes(str(tmp_path / "model"), notes, tmp_path / "out.jsonl")
    assert "a" not in {one.id for one in found.chosen}
    assert found.passed == {"annotated already": 1}


def test_more_notes_can_be_chosen_than_are_compared(calibrated_path, tmp_path, monkeypatch):
    monkeypatch.setattr("spacy_btl.suggest.suggest.COMPARED", 2)
    notes = write_notes(tmp_path / "notes.jsonl", NOTES)
    found = suggest_notes(str(calibrated_path), notes, tmp_path / "out.jsonl", Options(n=5))
    assert {one.id for one in found.chosen} == {name for name, _ in NOTES}


def test_ids_of_other_columns_and_forms(calibrated_path, tmp_path):
    """The ranking has the column of the notes, and OMOP's whole numbers find theirs."""
    rows = [{"note": f"00{i}", "text": text} for i, (_, text) in enumerate(NOTES)]
    notes = tmp_path / "notes.jsonl"
    notes.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "next.jsonl"
    found = suggest_notes(str(calibrated_path), notes, output, Options(n=2, id_column="note"))
    again = Options(n=9, id_column="note", annotated=[output])
    second = suggest_notes(str(calibrated_path), notes, tmp_path / "2.jsonl", again)
    assert not {one.id for one in found.chosen} & {one.id for one in second.chosen}
    assert len(second.chosen) == 3
    options = AnnotateOptions(id_column="note", only=output)
    counts = annotate_file(str(calibrated_path), notes, tmp_path / "note_nlp.csv", options)
    assert counts.notes == 2


def test_the_logits_of_another_ner_are_refused(calibrated_path, notes, tmp_path):
    nlp = spacy.load(calibrated_path)
    nlp.remove_pipe("doc_cleaner")
    other = spacy.load(calibrated_path).get_pipe("ner")
    other.cfg["labels"] = [label.upper() for label in other.labels]
    nlp.add_pipe("btl_ner", name="second", config={"model": nlp.get_pipe_config("ner")["model"]})
    nlp.get_pipe("second").cfg.update(other.cfg)
    nlp.get_pipe("second").model.from_bytes(nlp.get_pipe("ner").model.to_bytes())
    nlp.to_disk(tmp_path / "two")
    with pytest.raises(BtlError, match="logits of other tags"):
        suggest_notes(str(tmp_path / "two"), notes, tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_note_that_fails_is_named_and_not_quoted(calibrated_path, tmp_path):
    nlp = spacy.load(calibrated_path)
    nlp.add_pipe("poison", last=True)
    nlp.to_disk(tmp_path / "model")
    texts = [("a", "severe pain"), ("b", f"{POISON} zyxwvut"), ("c", "mild cough")]
    notes = write_notes(tmp_path / "notes.jsonl", texts)
    arguments = ["suggest", str(tmp_path / "model"), str(notes), str(tmp_path / "out.jsonl")]
    result = RUNNER.invoke(btl, arguments)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "3 notes, 2 chosen, 1 not readable" in said
    assert "line 2: ValueError" in said
    assert "Only 2 notes could be chosen" in said
    assert "zyxwvut" not in said
    assert {row["id"] for row in ranking(tmp_path / "out.jsonl")} == {"a", "c"}
