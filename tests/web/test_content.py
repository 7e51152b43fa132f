"""Marked text and tables say what the entities are."""

import json
import re

import pytest
import spacy

from spacy_btl.colors import DISPLACY_COLORS, color_of, contrast
from spacy_btl.context.assertions import Assertions
from spacy_btl.errors import PageError
from spacy_btl.marks import Mention, drawn
from spacy_btl.notes.entities import Entity
from spacy_btl.pipelines import fingerprint
from spacy_btl.web import content
from spacy_btl.web.corrections import Correction, place_of
from spacy_btl.web.session import decided, opened, read_note
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES

NOTE = SENTENCES[0][0]


@pytest.fixture
def note(pipeline):
    return read_note(pipeline, NOTE, "fever-1")


@pytest.fixture
def ents(pipeline, note):
    return decided(pipeline, note)


def test_colours_differ_and_dark_letters_are_legible_on_each():
    others = [color_of(label) for label in ("Gene", "Cell", "PROBLEM", "problem")]
    colors = [*DISPLACY_COLORS.values(), *others]
    assert len(set(colors)) == len(colors)
    assert all(contrast(color, "#1a1a1a") >= 7 for color in colors)  # WCAG AAA


def test_marks_hold_type_place_and_confidence_and_escape(ents):
    markup = content.marked(NOTE, ents)
    assert markup.count("<mark") == len(ents) > 0
    for ent in ents:
        assert f"{ent.confidence:.2f}" in markup
        assert f'data-mention="{ent.start} {ent.end} {ent.label}"' in markup
        assert f">{ent.text}&nbsp;<span" in markup  # no line begins with the label
    odd = Entity("n", 0, 12, "<b>fever</b>", "<i>", None)
    drawn_all = [
        content.marked(odd.text, [odd]),
        content.legend([odd]),
        content.headline(odd, [odd, odd._replace(end=3)]),
        content.described(Correction(odd, odd._replace(label="<u>"))),
        content.vote_bars([("<i>", 1.0)]),
    ]
    for markup in drawn_all:
        assert not re.search("<b>fever|<i>|<u>", markup)


def test_a_headline_says_what_is_known(ents):
    ent = ents[0]._replace(assertions=Assertions(negated=True))
    headline = content.headline(ent, [ent, ent._replace(label="Value", confidence=None)])
    assert f"Confidence {ent.confidence:.2f}, negated, overlaps {ent.text}: Value<" in headline
    assert "No confidence" in content.headline(ent._replace(confidence=None), [])


def test_a_correction_is_described():
    fever = Entity("n", 0, 5, "fever", "Sign", 0.5)
    other = fever._replace(label="Test", confidence=None)
    described = [
        content.described(one)
        for one in (Correction(fever, other), Correction(fever, None), Correction(None, other))
    ]
    ends = [one.rpartition("> ")[2] for one in described]
    assert ends == ["Sign is Test", "Sign deleted", "Test added"]


def test_votes_are_shares(pipeline, note, ents):
    explanations = pipeline.pipe.explain(note.span(*place_of(ents[0])))
    shares = content.vote_shares(explanations)
    assert sum(share for _, share in shares) == pytest.approx(1)
    assert shares[0][0] in content.vote_bars(shares, pipeline.labels)
    rows = content.neighbor_rows(explanations, None)
    assert rows
    assert "text" not in rows[0]


@pytest.mark.parametrize(("overlapping", "prefix"), [(False, "ents"), (True, "spans_btl")])
def test_the_table_of_types_is_that_of_the_evaluation(pipeline, tmp_path, overlapping, prefix):
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    row = {"support": 3, **{f"{prefix}_{key}": interval for key in "prf"}}
    file = tmp_path / "metrics.json"
    metrics = {"types": {"Sign": row}, "overlapping": overlapping}
    file.write_text(json.dumps({**metrics, "model_files": fingerprint(pipeline.nlp.path)}))
    (found,) = content.read_metrics(file, pipeline)
    assert (found["type"], found["mentions"], found["F1"]) == ("Sign", 3, 0.5)
    assert found["95% interval of F1"] == "25% to 75%"
    file.write_text(json.dumps({**metrics, "model_files": "another"}))
    with pytest.raises(PageError, match="another pipeline"):
        content.read_metrics(file, pipeline)
    file.write_text("[]")
    with pytest.raises(PageError, match="btl evaluate"):
        content.read_metrics(file, pipeline)
    with pytest.raises(PageError, match="no such file"):
        content.read_metrics(tmp_path / "absent.json", pipeline)


def test_mentions_that_overlap_are_marks_within_marks_and_rows(overlapping_path):
    pipeline = opened(spacy.load(overlapping_path))
    text, mentions = NOTES[0]
    ents = decided(pipeline, read_note(pipeline, text))
    assert set(map(place_of, ents)) == set(mentions)
    markup = content.marked(text, ents, pipeline.labels)
    assert markup.count("<mark") == len(mentions)
    assert [ent.label for ent in content.overlapping(ents[0], ents)] == ["Sign", "Sign"]
    rows = content.entity_rows(ents)
    assert [row["type"] for row in rows] == ["Negation", "Sign", "Sign"]
    assert all(f"{row['confidence']:.2f}" in markup for row in rows)


def test_words_of_negated_mentions_are_struck_through_and_rows_say_so(asserted_path):
    pipeline = opened(spacy.load(asserted_path))
    text = "pain in the left arm , no fever"
    note = read_note(pipeline, text)
    for tau in (None, 0.0):  # decided again, and judged again
        ents = decided(pipeline, note, tau)
        markup = content.marked(text, ents)
        assert re.findall("<s>(.*?)</s>", markup) == ["fever"]
        assert 'title="Sign, negated, characters 26 to 31"' in markup
        rows = {row["text"]: row for row in content.entity_rows(ents)}
        assert (rows["fever"]["negated"], rows["pain"]["negated"]) == (True, False)


def test_a_mention_within_a_negated_one_is_struck_through_once():
    mentions = [Mention(0, 11, "Sign", None, True), Mention(4, 11, "Part")]
    markup = drawn("dry cough  x", mentions, {"Sign": "#ffffff", "Part": "#ffffff"})
    assert re.findall("<s>(.*?)</s>", markup) == ["dry ", "cough  "]
