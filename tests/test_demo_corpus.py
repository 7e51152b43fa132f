"""The demo corpus keeps the promises of its README."""

import json
import lzma
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from spacy_btl.context.assertions import KINDS
from spacy_btl.corpora.note import Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.formats.brat import read_brat
from spacy_btl.formats.convert import convert
from spacy_btl.splits.split import missing_types, split_corpus

DEMO = Path(__file__).parent.parent / "assets" / "demo"
PASSES = DEMO.with_name("demo_passes.jsonl.xz")


@pytest.fixture(scope="module")
def notes() -> list[Note]:
    return list(read_brat(DEMO, report=ConversionReport()))


def test_it_has_the_size_it_claims(notes):
    assert len(notes) >= 100
    assert all(80 <= len(note.text.split()) <= 250 for note in notes)
    assert sum(len(note.mentions) for note in notes) >= 3000


def test_every_type_is_there_often_enough_and_the_tail_is_long(notes):
    mentions = Counter(mention.type for note in notes for mention in note.mentions)
    documents = Counter(
        label for note in notes for label in {mention.type for mention in note.mentions}
    )
    assert len(mentions) == 33
    assert min(mentions.values()) >= 12
    assert min(documents.values()) >= 6
    five_commonest = sum(count for _, count in mentions.most_common(5))
    assert 0.4 < five_commonest / mentions.total() < 0.6


def test_no_long_run_of_words_is_shared_between_notes(notes):
    where = defaultdict(set)
    for note in notes:
        words = re.findall(r"\w+", note.text.lower())
        for i in range(len(words) - 7):
            where[tuple(words[i : i + 8])].add(note.id)
    assert not [run for run, found in where.items() if len(found) > 1]


def test_mentions_stay_in_their_line_and_have_no_space_around(notes):
    for note in notes:
        for mention in note.mentions:
            for start, end in mention.fragments:
                text = note.text[start:end]
                assert text == text.strip()
                assert "\n" not in text


def test_every_type_is_in_every_part_of_the_default_split(tmp_path):
    convert(DEMO, tmp_path / "all.spacy")
    (parts,) = split_corpus(tmp_path / "all.spacy", tmp_path / "split")
    assert not any(missing_types(parts).values())


def test_the_stated_agreement_is_that_of_the_two_passes():
    passes = [json.loads(line) for line in lzma.decompress(PASSES.read_bytes()).splitlines()]
    first, second = (
        {(row["note"], json.dumps(mention)) for row in passes for mention in row[which]}
        for which in ("first", "second")
    )
    f1 = 2 * len(first & second) / (len(first) + len(second))
    assert f"is {f1:.3f}:" in (DEMO / "README.md").read_text()


ASSERTED = {
    *("Sign_symptom", "Disease_disorder", "Medication", "Diagnostic_procedure"),
    *("Therapeutic_procedure", "Clinical_event"),
}


def test_assertions_are_of_the_types_that_the_guide_names_and_every_attribute_is_read():
    report = ConversionReport()
    found = [mention for note in read_brat(DEMO, report=report) for mention in note.mentions]
    assert not report.remarks
    asserted = [mention for mention in found if mention.assertions]
    assert {mention.type for mention in asserted} == ASSERTED
    assert all(label in (DEMO / "README.md").read_text() for label in ASSERTED)
    counts = Counter(kind for mention in asserted for kind in mention.assertions)
    assert set(counts) == set(KINDS)
    assert min(counts.values()) >= 20


def test_what_stands_within_a_family_history_is_of_another_person(notes):
    for note in notes:
        families = [m.enclosing_span for m in note.mentions if m.type == "Family_history"]
        for mention in note.mentions:
            start, end = mention.enclosing_span
            if mention.type in ASSERTED and any(a <= start and end <= b for a, b in families):
                assert "other" in mention.assertions, (note.id, mention)
