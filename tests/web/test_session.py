"""A note is read once; tau, confidence and types choose among what it says."""

import pytest
import spacy

from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import PageError
from spacy_btl.pipeline.annotations import LOGITS
from spacy_btl.training.calibrate import calibrate
from spacy_btl.web.corrections import place_of
from spacy_btl.web.session import (
    caveat,
    decided,
    listed_notes,
    opened,
    read_file,
    read_note,
    shown,
)
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES as OVERLAPPING
from tests.pipeline.test_overlapping import reference

NOTE = SENTENCES[0][0]
MARKER = "zyxwvut"


def places(ents) -> list[tuple[int, int, str]]:
    return list(map(place_of, ents))


def test_every_tau_gives_what_the_pipeline_gives_with_it(pipeline, calibrated_path):
    note = read_note(pipeline, NOTE)
    nlp = spacy.load(calibrated_path)
    found = set()
    for tau in (-5.0, 0.0, 5.0):
        nlp.get_pipe("knn_calibrator").calibrator.set_params(tau=tau)
        expected = nlp(NOTE).ents
        ents = decided(pipeline, note, tau)
        assert places(ents) == [(e.start_char, e.end_char, e.label_) for e in expected]
        values = [e._.confidence for e in expected]
        assert [e.confidence for e in ents] == pytest.approx(values, abs=1e-6)
        found.add(tuple(places(ents)))
    assert len(found) > 1


def test_another_tau_runs_no_pipe_and_changes_no_setting(pipeline, monkeypatch):
    note = read_note(pipeline, NOTE)
    for _, pipe in pipeline.nlp.pipeline:
        monkeypatch.setattr(type(pipe), "predict", None)
    before = pipeline.pipe.calibrator.settings
    decided(pipeline, note, 5.0)
    assert pipeline.pipe.calibrator.settings == before


def test_the_minimum_confidence_and_the_types_hide_entities(pipeline):
    ents = decided(pipeline, read_note(pipeline, NOTE), 5.0)
    highest = max(ent.confidence for ent in ents)
    sure, hidden = shown(ents, min_confidence=highest)
    assert sure
    assert all(ent.confidence >= highest for ent in sure)
    assert len(sure) + hidden == len(ents)
    none_left, hidden = shown(ents, min_confidence=1.1, labels=["Sign"])
    assert (none_left, hidden) == ([], sum(ent.label == "Sign" for ent in ents))
    by_person = ents[0]._replace(confidence=None)
    assert shown([by_person], min_confidence=1.1) == ([by_person], 0)
    assert pipeline.labels == ("Severity", "Sign", "Test", "Value")


def test_a_span_is_the_whole_words_of_characters(pipeline):
    note = read_note(pipeline, "no fever today")
    assert note.span(4, 9, "Sign").text == "fever"
    assert note.span(2, 6, "Sign").label_ == "Sign"
    with pytest.raises(PageError, match="white space"):
        note.span(2, 3, "Sign")


def test_notes_of_a_folder_or_a_table_are_listed(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(f"note {name}")
    notes = listed_notes(tmp_path, "text", "id")
    assert [(note.id, note.text) for note in notes] == [("a", "note a"), ("b", "note b")]
    monkeypatch.setattr("spacy_btl.web.session.MAX_NOTES", 1)
    table = tmp_path / "notes.jsonl"
    table.write_text('{"n": 1, "t": "one"}\n{"n": 2, "t": "two"}\n')
    assert [(note.id, note.text) for note in listed_notes(table, "t", "n")] == [(1, "one")]


def test_the_neighbours_need_no_second_pass(pipeline):
    note = read_note(pipeline, NOTE)
    assert note.doc._.get(LOGITS) is not None
    assert note.doc._.trf_data is None


@pytest.mark.parametrize("fitted", [True, False])
@pytest.mark.filterwarnings("ignore:'knn_calibrator' is not fitted")
def test_without_a_fitted_calibrator_it_says_what_is_missing(trained_path, fitted):
    nlp = spacy.load(trained_path)
    if not fitted:
        nlp.add_pipe("knn_calibrator")
    pipeline = opened(nlp)
    assert "calibrate" in pipeline.missing
    assert pipeline.pipe is None
    ents, _ = shown(decided(pipeline, read_note(pipeline, NOTE)), min_confidence=0.9)
    assert ents
    assert {ent.confidence for ent in ents} == {None}


def test_a_pipeline_without_our_pipes_is_shown_as_well():
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "SIGN", "pattern": "fever"}])
    pipeline = opened(nlp)
    assert pipeline.labels == ("SIGN",)
    assert [ent.text for ent in decided(pipeline, read_note(pipeline, NOTE))] == ["fever"]


def test_notes_that_cannot_be_read_are_not_quoted(pipeline):
    with pytest.raises(PageError, match="empty"):
        read_note(pipeline, " \n ")
    pipeline.nlp.max_length = 10
    with pytest.raises(PageError, match="reads at most 10") as error:
        read_note(pipeline, MARKER * 3)
    assert MARKER not in str(error.value)
    pipeline.nlp.max_length = 1000

    def fail(stream, **_):
        raise ValueError(MARKER)

    pipeline.pipe.pipe = fail
    with pytest.raises(PageError, match="ValueError") as error:
        read_note(pipeline, MARKER)
    assert MARKER not in str(error.value)
    with pytest.raises(PageError, match=r"a.txt: not UTF-8"):
        read_file(b"\xff\xfe\x00", "a.txt")


def test_it_says_when_confidence_is_a_rough_guide(pipeline):
    assert "not fitted on held-out" in caveat(pipeline.pipe.calibrator, 0.0)


def test_mentions_that_overlap_are_decided_again_and_their_type_is_explained(
    overlapping_path, tmp_path
):
    corpus = spacy.blank("en")
    docs = [reference(corpus, text, mentions) for text, mentions in OVERLAPPING]
    write_docs(tmp_path / "c.spacy", docs)
    calibrate(
        str(overlapping_path), tmp_path / "c.spacy", tmp_path / "m", settings={"n_neighbors": 2}
    )
    pipeline = opened(spacy.load(tmp_path / "m"))
    assert pipeline.keys == ("btl",)
    assert not pipeline.missing
    text, mentions = OVERLAPPING[0]
    note = read_note(pipeline, text)
    ents = decided(pipeline, note, 0.0)
    assert set(places(ents)) == set(mentions)
    assert places(ents) == sorted(places(ents))
    assert all(0 < ent.confidence <= 1 for ent in ents)
    explained = {ent.label: pipeline.pipe.explain(note.span(*place_of(ent))) for ent in ents}
    for label, tokens in explained.items():
        labels = {neighbor.label for token in tokens for neighbor in token.neighbors}
        assert label in labels <= {label, "O"}
    assert places(decided(pipeline, note, 20.0)) != places(ents)


def test_without_a_calibrator_mentions_have_the_confidence_of_the_network(overlapping_path):
    pipeline = opened(spacy.load(overlapping_path))
    assert "no tau or neighbours" in pipeline.missing
    ents = decided(pipeline, read_note(pipeline, OVERLAPPING[0][0]))
    assert len(ents) == 3
    assert all(0 < ent.confidence <= 1 for ent in ents)
