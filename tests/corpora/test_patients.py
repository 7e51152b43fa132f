"""Which notes are of one patient, from a CSV file."""

import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.patients import patient_numbers, read_patients
from spacy_btl.errors import CorpusError


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
