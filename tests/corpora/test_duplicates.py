"""The same text twice: copies and contradictions, in JSON lines and in brat folders."""

import json
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.convert import convert
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import CorpusError
from tests.corpora.test_brat import write_note

SIGN, DRUG = [0, 5, "Sign"], [13, 20, "Drug"]
TEXT = "fever, given aspirin"


def converted(
    folder: Path, *records: dict[str, Any], **settings: Any
) -> tuple[list[Doc], ConversionReport]:
    path = folder / "notes.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    report = convert(path, folder / "corpus.spacy", **settings)
    return read_docs(folder / "corpus.spacy", Vocab()), report


def annotation(doc: Doc) -> list[tuple[str, str]]:
    return [(token.text, token.ent_type_ or token.ent_iob_) for token in doc]


def test_copies_that_are_annotated_alike_are_one_note(tmp_path: Path) -> None:
    first = {"id": "a", "text": TEXT, "ents": [SIGN, DRUG]}
    copy = {"id": "b", "text": TEXT, "ents": [DRUG, SIGN]}
    docs, report = converted(tmp_path, first, copy, copy, {"text": "Well.", "ents": [], "id": "c"})
    assert [doc.user_data["note_id"] for doc in docs] == ["a", "c"]
    assert (report.notes_read, report.total("read")) == (4, 2)
    assert report.notes_skipped == {"copy of another note, with the same annotation": 2}


def test_copies_that_contradict_are_invalid(tmp_path: Path) -> None:
    records = [
        {"text": TEXT, "ents": [SIGN]},
        {"text": "Well.", "ents": []},
        {"text": TEXT, "ents": [DRUG]},
    ]
    with pytest.raises(CorpusError) as caught:
        converted(tmp_path, *records)
    assert f"{tmp_path / 'notes.jsonl'}, line 3: the same text as line 1, " in str(caught.value)
    assert "fever" not in str(caught.value)

    docs, report = converted(tmp_path, *records, skip_invalid=True)
    assert len(docs) == 2
    assert report.notes_skipped == {"copy of another note, with other annotation": 1}
    # The first is what is kept; what it lacks is not known to be no entity.
    marked = [("fever", "Sign"), (",", "O"), ("given", "O"), ("aspirin", "")]
    assert annotation(docs[0]) == marked
    assert (report.total("read"), report.tokens_missing) == (1, 1)


def test_another_type_or_an_ignored_span_contradicts(tmp_path: Path) -> None:
    ignored = {"start": 13, "end": 20, "label": "Drug", "answer": "ignore"}
    sign = dict(zip(("start", "end", "label"), SIGN, strict=True))
    for other in ({"ents": [[0, 5, "Problem"]]}, {"spans": [sign, ignored]}):
        with pytest.raises(CorpusError, match="line 2: the same text as line 1"):
            converted(tmp_path, {"text": TEXT, "ents": [SIGN]}, {"text": TEXT, **other})


WRAPPED = "Fever, given\r\n  ASPIRIN"
SIGN_THERE, DRUG_THERE = [0, 5, "Sign"], [16, 23, "Drug"]


def test_white_space_and_capitals_make_no_other_text(tmp_path: Path) -> None:
    first = {"text": WRAPPED, "ents": [SIGN_THERE]}
    docs, report = converted(tmp_path, first, {"text": TEXT, "ents": [SIGN]})
    assert [doc.text for doc in docs] == [WRAPPED]
    assert report.notes_skipped == {"copy of another note, with the same annotation": 1}

    other = {"text": TEXT, "ents": [SIGN, DRUG]}
    with pytest.raises(CorpusError, match="line 2: the same text as line 1, with other annotation"):
        converted(tmp_path, first, other)
    docs, report = converted(tmp_path, first, other, skip_invalid=True)
    assert annotation(docs[0])[-2:] == [("\r\n  ", "O"), ("ASPIRIN", "")]
    swapped = {"text": TEXT, "ents": [DRUG]}, {"text": WRAPPED, "ents": [DRUG_THERE]}
    assert len(converted(tmp_path, *swapped)[0]) == 1


def test_an_id_of_another_text_is_invalid(tmp_path: Path) -> None:
    records = [{"id": "a", "text": TEXT, "ents": [SIGN]}, {"id": "a", "text": "Well.", "ents": []}]
    with pytest.raises(CorpusError, match=r"notes\.jsonl, line 2: id used twice\. "):
        converted(tmp_path, *records)
    docs, report = converted(tmp_path, *records, skip_invalid=True)
    assert len(docs) == 1
    assert report.notes_skipped == {"id used twice": 1}


def test_a_brat_file_names_the_other(tmp_path: Path) -> None:
    (tmp_path / "brat" / "ward").mkdir(parents=True)
    write_note(tmp_path / "brat", TEXT, "T1\tSign 0 5\tfever\n", "n1")
    write_note(tmp_path / "brat" / "ward", TEXT, "T1\tDrug 13 20\taspirin\n", "n2")
    with pytest.raises(CorpusError, match=r"brat, ward/n2\.txt: the same text as n1\.txt, with"):
        convert(tmp_path / "brat", tmp_path / "corpus.spacy")
