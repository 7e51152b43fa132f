"""Notes that belong together: copies of one text, in JSON lines and in brat, and one patient's."""

import json
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.patients import patient_numbers, read_patients
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import CorpusError
from spacy_btl.formats.convert import convert
from tests.formats.test_brat import write_note

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


# Which notes are of one patient, from a CSV file.


def test_a_doc_that_does_not_say_whose_it_is_has_a_patient_of_its_own():
    whose = ["b", None, "a", "b", None, 0, "a"]
    docs = [Doc(Vocab(), user_data={} if one is None else {"patient_id": one}) for one in whose]
    assert patient_numbers(docs).tolist() == [0, 1, 2, 0, 3, 4, 2]
    assert patient_numbers([]).tolist() == []
    docs[1].user_data["patient_id"] = docs[4].user_data["patient_id"] = ""
    assert patient_numbers(docs).tolist() == [0, 1, 2, 0, 3, 4, 2]


@pytest.mark.parametrize("patient", [float("nan"), 1.0, ["p1"], {}])
def test_what_is_no_patient_is_told_and_not_quoted(patient):
    docs = [Doc(Vocab()), Doc(Vocab(), user_data={"patient_id": patient})]
    with pytest.raises(CorpusError, match="document 2 is neither a string nor a") as error:
        patient_numbers(docs)
    assert "p1" not in str(error.value)


def test_reads_the_patient_of_each_note_and_passes_over_other_columns(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("\ufeffward,note_id,patient_id\n7,a,p1\n7,b,p2\n8,c,p1\n8,c,p1\n", "utf-8")
    assert read_patients(path) == {"a": "p1", "b": "p2", "c": "p1"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,p1\nb,p2\n", "first line must name note_id and patient_id"),
        ("", "first line must name"),
        ("note_id,patient_id\na,p1\nb\n", "line 3: note_id or patient_id is missing"),
        (
            "note_id,patient_id\na,p1\na,p2\n",
            "line 3: an earlier line gives this note another",
        ),
        ('note_id,patient_id\na,"p1\n', "broken CSV"),
        (b"note_id,patient_id\na,\xe9\n", "not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_such_file_is_told_and_not_quoted(tmp_path, content, message):
    path = tmp_path / "patients.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorpusError, match=message) as error:
        read_patients(path)
    assert "p1" not in str(error.value)
