"""Marked text, downloads and tables say what the entities are."""

import json
import re

import pytest
import spacy

from spacy_btl.colors import DISPLACY_COLORS, color_of
from spacy_btl.errors import PageError
from spacy_btl.marks import Mention, drawn
from spacy_btl.pipelines import fingerprint
from spacy_btl.web import content
from spacy_btl.web.session import chosen_entities, opened, read_note
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES

NOTE = SENTENCES[0][0]


@pytest.fixture
def note(pipeline):
    return read_note(pipeline, NOTE, "fever-1")


@pytest.fixture
def ents(pipeline, note):
    return chosen_entities(pipeline, note)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colours_differ_and_dark_letters_are_legible_on_each():
    others = [color_of(label) for label in ("Gene", "Cell", "PROBLEM", "problem")]
    colors = [*DISPLACY_COLORS.values(), *others]
    assert len(set(colors)) == len(colors)
    letters = luminance("#1a1a1a")
    for color in colors:
        assert (luminance(color) + 0.05) / (letters + 0.05) >= 7  # WCAG AAA


def test_marks_hold_type_colour_and_confidence_and_escape(ents):
    markup = content.marked(NOTE, ents)
    assert markup.count("<mark") == len(ents) > 0
    for ent in ents:
        assert f"{ent._.confidence:.2f}" in markup
        assert color_of(ent.label_) in markup
        assert f">{ent.text}&nbsp;<span" in markup  # no line begins with the label
    doc = spacy.blank("en")("<b>fever</b>")
    doc.set_ents([doc.char_span(3, 8, "<i>", alignment_mode="expand")])
    assert "<b>" not in content.marked(doc.text, doc.ents)
    assert "<i>" not in content.marked(doc.text, doc.ents) + content.legend(doc.ents)


def test_downloads_are_what_annotate_writes(pipeline, note, ents):
    rows = json.loads(content.as_json(pipeline, note, ents))
    assert [(row["start"], row["end"], row["label"]) for row in rows] == [
        (ent.start_char, ent.end_char, ent.label_) for ent in ents
    ]
    assert [row["text"] for row in rows] == [ent.text for ent in ents]
    lines = content.as_brat(pipeline, note, ents).decode().splitlines()
    first = ents[0]
    place = f"{first.label_} {first.start_char} {first.end_char}"
    assert lines[0] == f"T1\t{place}\t{first.text}"
    assert lines[1].startswith("#1\tAnnotatorNotes T1\tconfidence ")


def test_votes_are_shares(pipeline, ents):
    explanations = pipeline.pipe.explain(ents[0])
    shares = content.vote_shares(explanations)
    assert sum(share for _, share in shares) == pytest.approx(1)
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
    note = read_note(pipeline, text)
    ents = chosen_entities(pipeline, note)
    assert {(ent.start_char, ent.end_char, ent.label_) for ent in ents} == set(mentions)
    markup = content.marked(text, ents, pipeline.labels)
    assert markup.count("<mark") == len(mentions)
    assert [ent.label_ for ent in content.overlapping(ents[0], ents)] == ["Sign", "Sign"]
    rows = content.entity_rows(ents)
    assert [row["type"] for row in rows] == ["Negation", "Sign", "Sign"]
    assert all(f"{row['confidence']:.2f}" in markup for row in rows)
    downloaded = json.loads(content.as_json(pipeline, note, ents))
    assert [row["label"] for row in downloaded] == ["Negation", "Sign", "Sign"]


def test_words_of_negated_mentions_are_struck_through_and_rows_say_so(asserted_path):
    pipeline = opened(spacy.load(asserted_path))
    text = "pain in the left arm , no fever"
    note = read_note(pipeline, text)
    for tau in (None, 0.0):  # decided again, and judged again
        ents = chosen_entities(pipeline, note, tau=tau)
        markup = content.marked(text, ents)
        assert re.findall("<s>(.*?)</s>", markup) == ["fever"]
        assert 'title="Sign, negated, characters 26 to 31"' in markup
        rows = {row["text"]: row for row in content.entity_rows(ents)}
        assert (rows["fever"]["negated"], rows["pain"]["negated"]) == (True, False)
    assert [row["negated"] for row in json.loads(content.as_json(pipeline, note, ents))]
    assert "\tNegated T" in content.as_brat(pipeline, note, ents).decode()


def test_a_mention_within_a_negated_one_is_struck_through_once():
    mentions = [Mention(0, 11, "Sign", None, True), Mention(4, 11, "Part")]
    markup = drawn("dry cough  x", mentions, {"Sign": "#fff", "Part": "#fff"})
    assert re.findall("<s>(.*?)</s>", markup) == ["dry ", "cough  "]
