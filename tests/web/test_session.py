"""A note is read once; tau, confidence and types choose among what it says."""

import pytest
import spacy

from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import PageError
from spacy_btl.pipeline.annotations import LOGITS
from spacy_btl.training.calibrate import calibrate
from spacy_btl.web.session import caveat, chosen_entities, opened, read_file, read_note
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES as OVERLAPPING
from tests.pipeline.test_overlapping import reference

NOTE = SENTENCES[0][0]
MARKER = "zyxwvut"


def places(ents) -> list[tuple[int, int, str]]:
    return [(ent.start_char, ent.end_char, ent.label_) for ent in ents]


def test_every_tau_gives_what_the_pipeline_gives_with_it(pipeline, calibrated_path):
    note = read_note(pipeline, NOTE)
    nlp = spacy.load(calibrated_path)
    found = set()
    for tau in (-5.0, 0.0, 5.0):
        nlp.get_pipe("knn_calibrator").calibrator.set_params(tau=tau)
        expected = nlp(NOTE).ents
        ents = chosen_entities(pipeline, note, tau=tau)
        assert places(ents) == places(expected)
        assert [e._.confidence for e in ents] == [e._.confidence for e in expected]
        found.add(tuple(places(ents)))
    assert len(found) > 1


def test_another_tau_runs_no_pipe_and_changes_no_setting(pipeline, monkeypatch):
    note = read_note(pipeline, NOTE)
    for _, pipe in pipeline.nlp.pipeline:
        monkeypatch.setattr(type(pipe), "predict", None)
    before = pipeline.pipe.calibrator.settings
    chosen_entities(pipeline, note, tau=5.0)
    assert pipeline.pipe.calibrator.settings == before


def test_the_minimum_confidence_and_the_types_hide_entities(pipeline):
    note = read_note(pipeline, NOTE)
    ents = chosen_entities(pipeline, note, tau=5.0)
    highest = max(ent._.confidence for ent in ents)
    sure = chosen_entities(pipeline, note, tau=5.0, min_confidence=highest)
    assert sure
    assert all(ent._.confidence >= highest for ent in sure)
    assert not chosen_entities(pipeline, note, tau=5.0, min_confidence=1.1)
    signs = chosen_entities(pipeline, note, labels=["Sign"])
    assert {ent.label_ for ent in signs} == {"Sign"}
    assert pipeline.labels == ("Severity", "Sign", "Test", "Value")


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
    ents = chosen_entities(pipeline, read_note(pipeline, NOTE), min_confidence=0.9)
    assert ents
    assert {ent._.confidence for ent in ents} == {None}


def test_a_pipeline_without_our_pipes_is_shown_as_well():
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "SIGN", "pattern": "fever"}])
    pipeline = opened(nlp)
    assert pipeline.labels == ("SIGN",)
    assert [ent.text for ent in chosen_entities(pipeline, read_note(pipeline, NOTE))] == ["fever"]


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
    with pytest.raises(PageError, match="UTF-8"):
        read_file(b"\xff\xfe\x00")


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
    ents = chosen_entities(pipeline, note, tau=0.0)
    assert set(places(ents)) == set(mentions)
    assert places(ents) == sorted(places(ents))
    assert all(0 < ent._.confidence <= 1 for ent in ents)
    explained = {ent.label_: pipeline.pipe.explain(ent) for ent in ents}
    for label, tokens in explained.items():
        labels = {neighbor.label for token in tokens for neighbor in token.neighbors}
        assert label in labels <= {label, "O"}
    rare = chosen_entities(pipeline, note, tau=20.0)
    assert places(rare) != places(ents)
    assert places(chosen_entities(pipeline, note, tau=0.0, labels=["Sign"])) == [
        place for place in places(ents) if place[2] == "Sign"
    ]


def test_without_a_calibrator_mentions_have_the_confidence_of_the_network(overlapping_path):
    pipeline = opened(spacy.load(overlapping_path))
    assert "no tau or neighbours" in pipeline.missing
    ents = chosen_entities(pipeline, read_note(pipeline, OVERLAPPING[0][0]))
    assert len(ents) == 3
    assert all(0 < ent._.confidence <= 1 for ent in ents)
