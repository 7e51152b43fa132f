"""JSON lines: our own form, Prodigy's, and everything that can be wrong."""

import json
import shutil
import traceback
from pathlib import Path
from typing import Any

import pytest

from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import sources_of
from spacy_btl.errors import CorpusError
from spacy_btl.formats.annotation_tools import OTHER_TASK, YES_OR_NO
from spacy_btl.formats.record_forms import OF_THE_TEXT
from spacy_btl.formats.records import NOT_LABELLED, read_records
from tests.formats.reading import MENTIONS, TEXT, shown, write_json
from tests.formats.reading import read as read_any

SECRET = "Zyxwvut"  # stands for what must never be in a message
GOOD = {"text": "No fever.", "ents": [[3, 8, "Sign"]]}


def write(folder: Path, *lines: Any) -> Path:
    """Write lines; those that are neither str nor bytes as JSON."""
    path = folder / "notes.jsonl"
    path.write_bytes(b"\n".join(_encode(line) for line in lines))
    return path


def _encode(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode("utf-8")


def read(path: Path, *, skip_invalid: bool = False) -> tuple[list[Note], ConversionReport]:
    report = ConversionReport(skip_invalid=skip_invalid)
    notes = list(read_records(sources_of(path), report))
    for note in notes:
        report.count_mentions(note)
    return notes, report


def test_reads_notes_and_their_ids(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff" + json.dumps(GOOD), "", {**GOOD, "id": "a"}, {**GOOD, "id": 7})
    notes, report = read(path)
    mentions = (Mention("T1", "Sign", ((3, 8),)),)
    assert notes == [Note(name, GOOD["text"], mentions) for name in ("line-000001", "a", "7")]
    assert (report.notes_read, report.total("read")) == (3, 3)


def test_offsets_are_code_points_and_exotic_line_ends_are_text(tmp_path: Path) -> None:
    text = "\U0001f912\u2028fever\r\n"
    line = json.dumps({"text": text, "ents": [[2, 7, "Sign"]]}, ensure_ascii=False)
    (note,), _ = read(write(tmp_path, line + "\r"))
    ((start, end),) = note.mentions[0].fragments
    assert note.text == text
    assert note.text[start:end] == "fever"


def test_prodigy_records_are_read_and_rejected_ones_counted(tmp_path: Path) -> None:
    spans = [{"start": 3, "end": 8, "label": "Sign", "token_start": 1, "token_end": 1}]
    record = {"text": "No fever.", "spans": spans}
    answers = ("accept", "reject", "ignore", "reject")
    no_spans = {"text": "(illegible)", "answer": "reject"}
    lines = [record, *({**record, "answer": answer} for answer in answers), no_spans]
    notes, report = read(write(tmp_path, *lines))
    assert [note.id for note in notes] == ["line-000001", "line-000002"]
    assert [len(note.mentions) for note in notes] == [1, 1]
    assert report.notes_skipped == {"answer: reject": 3, "answer: ignore": 1}
    assert report.total("read") == 2


def test_spans_that_were_rejected_or_ignored_are_not_gold(tmp_path: Path) -> None:
    spans = [
        {"start": 0, "end": 2, "label": "A", "answer": "reject"},
        {"start": 3, "end": 8, "label": "B", "answer": "ignore"},
        {"start": 8, "end": 9, "label": "C", "answer": "accept"},
    ]
    (note,), report = read(write(tmp_path, {"text": "No fever.", "spans": spans}))
    assert [mention.type for mention in note.mentions] == ["C"]
    assert note.missing == ((3, 8),)  # and what was rejected is no entity
    assert report.mentions_rejected == {
        "answer of the span: reject": 1,
        "answer of the span: ignore": 1,
    }
    assert {label: (m.read, m.rejected) for label, m in report.types.items()} == {
        "A": (1, 1),
        "B": (1, 1),
        "C": (1, 0),
    }


MANUAL = {"text": "No fever.", "_view_id": "ner_manual", "answer": "accept"}
SPAN = {"start": 3, "end": 8, "label": "Sign"}
COMPLETE = [
    MANUAL,  # Prodigy leaves "spans" out where nothing is marked
    {**MANUAL, "_view_id": "spans_manual"},
    {**MANUAL, "_is_binary": False, "spans": [SPAN]},
    {**MANUAL, "_view_id": "review", "view_id": "ner_manual", "versions": [], "spans": [SPAN]},
    {**MANUAL, "spans": [SPAN], "label": "ICU", "relations": [{}], "meta": {"score": 0.3}},
    {"text": "No fever.", "spans": [SPAN], "meta": {"source": "ward"}, "answer": "accept"},
    {"text": "No fever.", "spans": [SPAN, {**SPAN, "score": 0.1}], "answer": "accept"},
    {"text": "No fever.", "ents": [SPAN], "spans": {"sc": []}, "label": "ICU"},  # Doc.to_json
    {"text": "No fever.", "ents": [SPAN], "relations": []},
    {"text": "No fever.", "spans": [SPAN], "meta": {"label": "ICU"}},
]


@pytest.mark.parametrize("record", COMPLETE, ids=range(len(COMPLETE)))
def test_a_task_in_which_all_was_to_be_marked_is_a_note(tmp_path: Path, record: Any) -> None:
    (note,), _ = read(write(tmp_path, record))
    assert len(note.mentions) == len(record.get("ents") or record.get("spans") or ())


def test_flagged_notes_are_counted(tmp_path: Path) -> None:
    _, report = read(write(tmp_path, {**MANUAL, "flagged": True}, {**MANUAL, "flagged": False}))
    assert report.remarks == {"flagged notes": 1}


def test_tokens_that_could_not_be_marked_are_missing(tmp_path: Path) -> None:
    tokens = [
        {"text": "No", "start": 0, "end": 2, "id": 0, "disabled": True},
        {"text": "fever", "start": 3, "end": 8, "id": 1, "disabled": False},
    ]
    (note,), report = read(write(tmp_path, {**MANUAL, "tokens": tokens, "spans": [SPAN]}))
    assert (note.missing, len(note.mentions)) == (((0, 2),), 1)
    assert report.total("read") == 1
    tokens[0]["end"] = 99
    with pytest.raises(CorpusError, match="outside the text"):
        read(write(tmp_path, {**MANUAL, "tokens": tokens}))


def span(text: str, start: int, said: str) -> dict[str, Any]:
    return {"start": start, "end": start + len(said), "label": "Sign", "text": said}


EMOJI = "\U0001f44d\U0001f3ff"
OTHER_UNITS = [
    (f"{EMOJI} No fever, mild", [("fever", 6), ("mild", 13)], ""),
    (f"{EMOJI} No fever, mild", [("fever", 8), ("mild", 15)], "UTF-16 code units"),
    (f"{EMOJI} No fever, mild", [("fever", 12), ("mild", 19)], "UTF-8 bytes"),
    ("Pain.\r\nNo fever.\r\nCough.", [("Pain", 0), ("fever", 9), ("Cough", 16)], "CRLF as one"),
    (f"{EMOJI}\r\nNo fever", [("fever", 8)], "UTF-16 code units, CRLF as one"),
    ("Pain.\nNo fever.\nCough.", [("Pain", 0), ("fever", 10), ("Cough", 18)], "LF as two"),
    ("Pain.\r\nNo fever.\nCough.", [("fever", 10), ("Cough", 18)], "LF as two"),
    (f"{EMOJI}\nNo fever", [("fever", 9)], "UTF-16 code units, LF as two"),
]


@pytest.mark.parametrize(("text", "mentions", "counted"), OTHER_UNITS)
def test_offsets_count_what_makes_the_mentions_their_own_texts(
    tmp_path: Path, text: str, mentions: list[tuple[str, int]], counted: str
) -> None:
    spans = [span(text, start, said) for said, start in mentions]
    # One that does not say its text follows the others.
    spans.append({key: value for key, value in spans[-1].items() if key != "text"})
    (note,), report = read(write(tmp_path, {"text": text, "spans": spans}))
    found = [note.text[slice(*mention.enclosing_span)] for mention in note.mentions]
    assert found == [*(said for said, _ in mentions), mentions[-1][0]]
    assert report.remarks == ({f"notes whose offsets count {counted}": 1} if counted else {})


def test_offsets_are_characters_where_no_mention_says_its_text(tmp_path: Path) -> None:
    line = {"text": f"{EMOJI} fever", "ents": [[3, 8, "Sign"], [5, 10, "Sign"]]}
    with pytest.raises(CorpusError, match="mention 2: mention offsets outside the text"):
        read(write(tmp_path, line))


LABEL_STUDIO = "a task of Label Studio's among records of another form"
TASK = {
    "text": SECRET,
    "spans": [{"start": 0, "end": 7, "label": "A"}],
    "answer": "accept",
}
UNANSWERED = {key: value for key, value in TASK.items() if key != "answer"}
TWICE = "the same key twice in one object"
BAD_LINES = [
    ('{"text": "' + SECRET, "broken JSON"),
    (SECRET, "broken JSON"),
    ("[" * 100_000, "broken JSON"),
    (SECRET.encode() + b"\xe9", "not UTF-8"),
    ([SECRET], "not a JSON object"),
    ('{"text": "Zyxwvut", "ents": [[0, 7, "A"]], "ents": []}', TWICE),
    ('{"text": "x", "spans": [{"start": 0, "end": 1, "label": "A", "label": "B"}]}', TWICE),
    ({"ents": []}, '"text" is missing or not a string'),
    ({"text": 1, "ents": []}, '"text" is missing or not a string'),
    ({"text": SECRET + "\ud83e", "ents": []}, '"text" is missing or not a string'),
    ({"text": SECRET}, 'neither "ents" nor "spans" is a list'),
    ({"text": SECRET, "ents": None}, 'neither "ents" nor "spans" is a list'),
    ({"text": SECRET, "ents": [], "id": None}, '"id" is not a string or a number'),
    ({"text": SECRET, "ents": [], "id": True}, '"id" is not a string or a number'),
    (
        {"text": SECRET, "spans": [], "answer": SECRET},
        '"answer" is not accept, reject or ignore',
    ),
    ({"text": SECRET, "spans": [], "answer": []}, '"answer" is not accept, reject or ignore'),
    ({"text": "x" * 1_000_001, "ents": []}, "note over 1,000,000 characters"),
    ({"text": SECRET, "ents": [], "spans": []}, 'both "ents" and "spans" are given'),
    ({"text": SECRET, "answer": "accept"}, 'neither "ents" nor "spans" is a list'),
    (
        {"text": SECRET, "entities": [[0, 5, "Sign"]], "answer": "accept"},
        'neither "ents" nor "spans" is a list',
    ),
    ({"text": SECRET, "label": [SECRET]}, OF_THE_TEXT),
    ({"text": SECRET, "label": [{"start": 0, "end": 5, "labels": [SECRET]}]}, LABEL_STUDIO),
    ({"data": {"text": SECRET}, "annotations": []}, LABEL_STUDIO),
    ({**TASK, "_view_id": "choice", "options": [], "accept": [SECRET]}, OTHER_TASK),
    ({**TASK, "_view_id": "classification", "label": SECRET}, OTHER_TASK),
    ({**TASK, "_view_id": "relations", "relations": []}, OTHER_TASK),
    ({**TASK, "_view_id": "blocks"}, OTHER_TASK),
    ({**TASK, "_view_id": SECRET}, OTHER_TASK),
    ({**TASK, "_view_id": "review", "view_id": "choice"}, OTHER_TASK),
    ({**TASK, "_view_id": "review", "versions": []}, OTHER_TASK),
    ({**TASK, "options": [{"id": SECRET}], "accept": []}, OTHER_TASK),
    ({**TASK, "label": SECRET}, OTHER_TASK),
    ({**TASK, "relations": [{"head": 0, "child": 1}]}, OTHER_TASK),
    ({**TASK, "relations": []}, OTHER_TASK),
    ({**UNANSWERED, "label": SECRET}, OTHER_TASK),
    ({**UNANSWERED, "relations": [{"head": 0, "child": 1}]}, OTHER_TASK),
    ({"text": SECRET, "label": SECRET}, OTHER_TASK),
    ({"text": SECRET, "ents": [], "label": SECRET, "answer": "accept"}, OTHER_TASK),
    ({**TASK, "_view_id": "ner"}, YES_OR_NO),
    ({**TASK, "_view_id": "ner", "answer": "reject"}, YES_OR_NO),
    ({**TASK, "_view_id": "spans"}, YES_OR_NO),
    ({**TASK, "_view_id": "ner_manual", "_is_binary": True}, YES_OR_NO),
    ({**TASK, "_view_id": "ner_manual", "_is_binary": 1}, YES_OR_NO),
    ({**TASK, "meta": {"score": 0.5}}, YES_OR_NO),
    ({**TASK, "priority": 0.5}, YES_OR_NO),
    ({**TASK, "spans": [{"start": 0, "end": 7, "label": "A", "score": 0.5}]}, YES_OR_NO),
]


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_is_named_or_skipped_and_counted(tmp_path: Path, line: Any, reason: str) -> None:
    path = write(tmp_path, GOOD, line)
    with pytest.raises(CorpusError) as caught:
        read(path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{path}, line 2: {reason}. " in message
    assert SECRET not in message

    notes, report = read(path, skip_invalid=True)
    assert len(notes) == 1
    assert report.notes_read == 2
    assert report.notes_skipped == {reason: 1}


NO_START_END_TYPE = "mention without integer start and end and a type"
ANSWER = '"answer" of the mention is not accept, reject or ignore'
OTHER_TEXT = "mention text differs from the text at its offsets"
TOKENS = "mention offsets outside its tokens"
# A mention of "No fever.", what is wrong, and where annotation is then missing: None, if the note
# is left out.
BAD_MENTIONS = [
    ([0, 99, SECRET], "mention offsets outside the text", None),
    ([0, 10**400, SECRET], "mention offsets outside the text", None),
    ([-2, 4, SECRET], "mention offsets outside the text", None),
    ([4, 4, SECRET], "mention with start >= end", None),
    ([2, 3, SECRET], "mention of white space only", [(2, 3)]),
    ([0, 4, "O"], "mention of type O, which means no entity", [(0, 4)]),
    ([0, 4, " O\u00a0"], "mention of type O, which means no entity", [(0, 4)]),
    ([0, 4], NO_START_END_TYPE, [(0, 4)]),
    ([0, 4, ""], NO_START_END_TYPE, [(0, 4)]),
    ([0, 4, " "], NO_START_END_TYPE, [(0, 4)]),
    ([0, 4, 1], NO_START_END_TYPE, [(0, 4)]),
    ([0, 4, "\ud83e"], NO_START_END_TYPE, [(0, 4)]),
    ([0.0, 4, SECRET], NO_START_END_TYPE, None),
    ([False, 4, SECRET], NO_START_END_TYPE, None),
    ({"start": 0, "end": 4}, NO_START_END_TYPE, [(0, 4)]),
    ({"label": SECRET}, NO_START_END_TYPE, None),
    ([0, 4, SECRET, SECRET], NO_START_END_TYPE, None),
    (SECRET, NO_START_END_TYPE, None),
    ({"start": 0, "end": 2, "label": "A", "answer": SECRET}, ANSWER, [(0, 2)]),
    ({"start": 0, "end": 2, "label": "A", "text": SECRET}, OTHER_TEXT, [(0, 2)]),
    ({"start": 0, "end": 2, "label": "A", "text": "fever"}, OTHER_TEXT, [(0, 2), (3, 8)]),
    ({"start": 0, "end": 2, "label": "A", "text": ["No"]}, OTHER_TEXT, [(0, 2)]),
    ({"start": 0, "end": 2, "label": "A", "token_start": 1, "token_end": 1}, TOKENS, None),
    ({"start": 0, "end": 8, "label": "A", "token_start": 0, "token_end": 0}, TOKENS, None),
    ({"start": 0, "end": 2, "label": "A", "token_start": 0, "token_end": 9}, TOKENS, None),
    ({"start": 0, "end": 2, "label": "A", "token_start": SECRET}, TOKENS, None),
]


@pytest.mark.parametrize(("raw", "reason", "missing"), BAD_MENTIONS, ids=range(len(BAD_MENTIONS)))
def test_a_bad_mention_is_named_or_skipped_and_counted(
    tmp_path: Path, raw: Any, reason: str, missing: list[tuple[int, int]] | None
) -> None:
    tokens = [{"start": 0, "end": 2}, {"start": 3, "end": 8}, {"start": 8, "end": 9}]
    record = {"text": "No fever.", "spans": [SPAN, raw], "tokens": tokens}
    path = write(tmp_path, GOOD, record)
    with pytest.raises(CorpusError) as caught:
        read(path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{path}, line 2, mention 2: {reason}. " in message
    assert SECRET not in message

    notes, report = read(path, skip_invalid=True)
    assert report.mentions_invalid + report.notes_skipped == {reason: 1}
    if missing is None:
        assert len(notes) == report.total("read") == 1
    else:
        assert [len(note.mentions) for note in notes] == [1, 1]
        assert list(notes[1].missing) == missing
        assert report.total("read") == 3


def test_labels_are_read_without_odd_white_space(tmp_path: Path) -> None:
    ents = [[0, 2, " A"], [0, 2, "A\u2009b"], [0, 2, "A b"], [0, 2, "A\n"]]
    (note,), report = read(write(tmp_path, {"text": "No fever.", "ents": ents}))
    assert [mention.type for mention in note.mentions] == ["A", "A b", "A b", "A"]
    assert report.remarks == {"labels with normalized white space": 3}


ENTS = [[5, 10, "Sign"], [14, 28, "Sign"], [19, 22, "Detail"]]
DOCCANO = {"id": 3, "text": TEXT, "label": ENTS, "Comments": []}
ENTITIES = [
    {"id": i, "label": label, "start_offset": start, "end_offset": end}
    for i, (start, end, label) in enumerate(ENTS)
]
RELATIONS = [{"id": 9, "from_id": 0, "to_id": 1, "type": "with"}]
DOCCANO_RELATIONS = {"id": 3, "text": TEXT, "entities": ENTITIES, "relations": RELATIONS}
SPACY_2 = [TEXT, {"entities": ENTS}]


@pytest.mark.parametrize("record", [DOCCANO, DOCCANO_RELATIONS, SPACY_2], ids=range(3))
@pytest.mark.parametrize("lines", [True, False])
def test_other_forms_of_a_text_with_offsets(tmp_path: Path, record: Any, lines: bool) -> None:
    path = write(tmp_path, record) if lines else write_json(tmp_path / "notes.json", [record])
    (note,), report = read_any(path)
    assert (note.text, shown(note)) == (TEXT, MENTIONS)
    assert report.format == "JSON records"
    relations = len(record["relations"]) if "relations" in record else 0
    assert report.remarks[OTHER_ANNOTATION] == relations


def test_doccano_says_that_a_text_without_labels_has_no_mention(tmp_path: Path) -> None:
    path = write(tmp_path, DOCCANO, {"id": 4, "text": "Well.", "label": []})
    notes, _ = read_any(path)
    assert [len(note.mentions) for note in notes] == [3, 0]


def doccano_file(path: Path, *labels: Any) -> None:
    """What doccano writes for one user: every document, whether the user labelled it or not."""
    texts = (TEXT, f"{TEXT} Well.", "No pain.")
    lines = ({"id": i, "text": texts[i], "label": label} for i, label in enumerate(labels))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.mark.parametrize("zipped", [True, False])
def test_doccano_s_files_are_of_the_users_that_they_are_named_after(
    tmp_path: Path, zipped: bool
) -> None:
    (tmp_path / "export").mkdir()
    ann, bob = [[5, 10, "Sign"], [19, 22, "Detail"]], [[5, 10, "Sign"]]
    doccano_file(tmp_path / "export" / "admin.jsonl", [], [], [])
    doccano_file(tmp_path / "export" / "ann.jsonl", ann, [], [])
    doccano_file(tmp_path / "export" / "bob.jsonl", bob, bob, [])
    src = tmp_path / "export"
    if zipped:
        src = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", src))
    notes, report = read_any(src)
    assert {note.id: note.annotator for note in notes} == dict.fromkeys("012", "bob")
    assert report.notes_skipped[NOT_LABELLED] == 3  # admin's two, and ann's second
    assert report.annotators == {"admin": 1, "ann": 2, "bob": 3}
    assert (report.agreement["Sign"].f1, report.agreement["Detail"].f1) == (1, 0)
    notes, _ = read_any(src, annotator="ann")
    assert {note.id: len(note.mentions) for note in notes} == {"0": 2, "2": 0}


def test_doccano_s_files_of_different_documents_have_no_annotator(tmp_path: Path) -> None:
    doccano_file(tmp_path / "one.jsonl", [[5, 10, "Sign"]])
    write_json(tmp_path / "two.json", [{"id": 9, "text": "No pain.", "label": []}])
    notes, report = read_any(tmp_path)
    assert [(note.id, note.annotator) for note in notes] == [("0", None), ("9", None)]
    assert not report.annotators


def test_a_file_of_doccano_that_contradicts_itself_is_no_user_s(tmp_path: Path) -> None:
    lines = [{"id": 1, "text": TEXT, "label": label} for label in ([[5, 10, "Sign"]], [])]
    notes, _ = read_any(write(tmp_path, *lines))
    assert [len(note.mentions) for note in notes] == [1, 0]  # for `drop_duplicates` to refuse


def test_a_record_names_its_patient(tmp_path: Path) -> None:
    records = [{**GOOD, "patient_id": one} for one in ("p-1", 7, None)]
    notes, _ = read_any(write(tmp_path, *records))
    assert [note.patient for note in notes] == ["p-1", "7", None]


def test_pairs_of_an_editor_for_spacy_2(tmp_path: Path) -> None:
    pairs = [SPACY_2, ["Well.", {"entities": []}]]
    path = write_json(tmp_path / "n.json", {"classes": ["SIGN"], "annotations": pairs})
    notes, _ = read_any(path)
    assert [shown(note) for note in notes] == [MENTIONS, []]


TOKENS = ["\U0001f912", "No", "fever", ",", "dry", "cough", "fever"]
NAMES = ["O", "B-Sign", "I-Sign", "B-Detail"]
TAG_IDS = [0, 0, 1, 0, 3, 1, 1]
TOKEN_MENTIONS = [("fever", "Sign"), ("dry", "Detail"), ("cough", "Sign"), ("fever", "Sign")]


def test_tokens_with_named_tags_of_hugging_face(tmp_path: Path) -> None:
    tags = [NAMES[tag] for tag in TAG_IDS]
    path = write(tmp_path, {"id": "0", "tokens": TOKENS, "ner_tags": tags})
    (note,), _ = read_any(path)
    assert note.text == " ".join(TOKENS)
    assert sorted(shown(note)) == sorted(TOKEN_MENTIONS)


def test_numbers_of_tags_are_named_by_the_data_set_s_info(tmp_path: Path) -> None:
    path = write(tmp_path, {"tokens": TOKENS, "ner_tags": TAG_IDS, "pos_tags": TAG_IDS})
    with pytest.raises(CorpusError, match=r"line 1: tags are numbers without names.*dataset_info"):
        read_any(path)
    feature = {"names": NAMES, "_type": "ClassLabel"}
    features = {"ner_tags": {"feature": feature, "_type": "Sequence"}}
    write_json(tmp_path / "dataset_info.json", {"features": features})
    (note,), _ = read_any(path)
    assert sorted(shown(note)) == sorted(TOKEN_MENTIONS)
    (folder,) = read_any(tmp_path)[0]
    assert (folder.id, folder.mentions) == ("notes/line-000001", note.mentions)


def test_gliner_counts_the_last_token(tmp_path: Path) -> None:
    record = {"tokenized_text": TOKENS, "ner": [[4, 5, "Sign"], [4, 4, "Detail"]]}
    (note,), _ = read_any(write_json(tmp_path / "g.json", [record]))
    assert sorted(shown(note)) == [("dry", "Detail"), ("dry cough", "Sign")]


BAD_FORMS = [
    ({"tokens": [SECRET, "x"], "ner_tags": ["O"]}, "as many tokens as tags are needed"),
    ({"tokens": [SECRET], "ner_tags": [SECRET]}, "a tag other than O and B-TYPE"),
    ({"tokenized_text": [SECRET], "ner": [[0, 1, "A"]]}, "a mention without a first and last"),
    ({"tokenized_text": SECRET, "ner": []}, '"tokenized_text" and "ner" are not two lists'),
    ([SECRET, {"cats": {"A": 1}}], "a pair of spaCy 2 without a list of entities"),
    ({"text": SECRET, "label": [SECRET]}, OF_THE_TEXT),
]


@pytest.mark.parametrize(("record", "reason"), BAD_FORMS, ids=range(len(BAD_FORMS)))
def test_a_bad_record_of_another_form_is_named(tmp_path: Path, record: Any, reason: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read_any(write(tmp_path, GOOD, record))
    assert f"line 2: {reason}" in str(caught.value)
    assert SECRET not in str(caught.value)
    notes, _ = read_any(write(tmp_path, GOOD, record), skip=True)
    assert len(notes) == 1


def test_prodigy_names_the_annotators_of_a_task(tmp_path: Path) -> None:
    task = {"text": "No fever.", "_input_hash": 7, "answer": "accept", "_view_id": "ner_manual"}
    ann = {**task, "spans": [SPAN], "_annotator_id": "set-ann"}
    bob = {**task, "spans": [], "_annotator_id": "set-bob"}
    other = {**task, "text": "Well.", "_input_hash": 8, "spans": [], "_annotator_id": "set-bob"}
    path = write(tmp_path, ann, bob, other)
    notes, report = read_any(path)
    assert [(note.id, note.annotator) for note in notes] == [
        ("line-000002", "set-bob"),
        ("line-000003", "set-bob"),
    ]
    assert report.agreement["Sign"].f1 == 0
    notes, report = read_any(path, annotator="set-ann")
    assert [len(note.mentions) for note in notes] == [1]
