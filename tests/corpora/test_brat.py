"""Brat folders: offsets, line ends, byte order marks, and everything that can be wrong."""

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_btl.corpora.brat import read_brat
from spacy_btl.corpora.note import Account, Mention, Note
from spacy_btl.errors import CorpusError

SECRET = "Zyxwvut"  # stands for what must never be in a message
TEXT = f"{SECRET} has asthma.\nNo fever."


def write_note(folder: Path, txt: str | bytes, ann: str | bytes, name: str = "note") -> None:
    for suffix, content in ((".txt", txt), (".ann", ann)):
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        (folder / f"{name}{suffix}").write_bytes(data)


def read(folder: Path, *, skip_invalid: bool = False) -> tuple[list[Note], Account]:
    account = Account(skip_invalid=skip_invalid)
    return list(read_brat(folder, account=account)), account


def t_line(mention: Mention, text: str) -> str:
    """The T line that brat would write."""
    offsets = ";".join(f"{start} {end}" for start, end in mention.fragments)
    pieces = " ".join(text[start:end] for start, end in mention.fragments)
    return f"{mention.id}\t{mention.type} {offsets}\t{' '.join(pieces.split())}\n"


def test_reads_mentions_and_passes_over_other_annotation(tmp_path: Path) -> None:
    ann = (
        "T1\tDisease 12 18\tasthma\nE1\tDisease:T1 \nR1\tMODIFY Arg1:T1 Arg2:T2\t\n"
        "A1\tNegated T2\nM1\tOld T2\nN1\tReference T1 X:1\tx\n*\tEquiv T1 T2\n#1\tNote T1\tsure\n"
        "\nT2\tSign 23 28\tfever\n"
    )
    write_note(tmp_path, TEXT, ann)
    (tmp_path / "annotation.conf").write_text("[entities]")
    (tmp_path / "._note.txt").write_bytes(b"\xff")  # macOS leaves such files in archives
    notes, account = read(tmp_path)
    mentions = (Mention("T1", "Disease", ((12, 18),)), Mention("T2", "Sign", ((23, 28),)))
    assert notes == [Note("note", TEXT, mentions)]
    assert (account.notes_read, account.mentions_read) == (1, 2)


def test_notes_come_by_name_with_their_dots(tmp_path: Path) -> None:
    for name in ("b.v2", "a"):
        write_note(tmp_path, "x", "", name)
    assert [note.id for note in read(tmp_path)[0]] == ["a", "b.v2"]


def test_discontinuous_nested_and_overlapping(tmp_path: Path) -> None:
    text = "left and right knee pain"
    ann = (
        "T1\tSite 0 4;15 19\tleft knee\nT2\tSite 9 19\tright knee\nT3\tSign 9 24\tright knee pain\n"
    )
    write_note(tmp_path, text, ann)
    (note,), _ = read(tmp_path)
    assert [mention.fragments for mention in note.mentions] == [
        ((0, 4), (15, 19)),
        ((9, 19),),
        ((9, 24),),
    ]
    assert note.mentions[0].hull == (0, 19)


@pytest.mark.parametrize(
    ("txt", "offsets", "text"),
    [
        ("Cough.\r\nFever.", "8 13", "Cough.\r\nFever."),  # CRLF counted as two characters
        ("Cough.\r\nFever.", "7 12", "Cough.\nFever."),  # and as one
        ("\ufeffCough. Fever.", "7 12", "Cough. Fever."),  # byte order mark not counted
        ("\ufeffCough. Fever.", "8 13", "\ufeffCough. Fever."),  # and counted
        ("\ufeffCough.\r\nFever.", "8 13", "Cough.\r\nFever."),
        ("\U0001f912 e\u0301 \U0001d5a0 Fever.", "7 12", "\U0001f912 e\u0301 \U0001d5a0 Fever."),
    ],
)
def test_takes_the_reading_in_which_the_offsets_hold(
    tmp_path: Path, txt: str, offsets: str, text: str
) -> None:
    write_note(tmp_path, txt, f"\ufeffT1\tSign {offsets}\tFever\r\n")
    (note,), _ = read(tmp_path)
    assert note.text == text
    ((start, end),) = note.mentions[0].fragments
    assert note.text[start:end] == "Fever"


def test_white_space_of_the_text_column_is_normalised(tmp_path: Path) -> None:
    write_note(
        tmp_path, "8\u2005mg\nof it", "T1\tDose 0 4\t8 mg\t\u2005\nT2\tDose 2 7\tmg\u2028of\n"
    )
    (note,), _ = read(tmp_path)
    assert len(note.mentions) == 2


BAD_LINES = {
    f"T2\tSign 0 99\t{SECRET}": "mention offsets outside the text",
    f"T2\tSign 9 9\t{SECRET}": "mention with start >= end",
    f"T2\tSign 7 0\t{SECRET}": "mention with start >= end",
    "T2\tSign 7 8\t ": "mention of white space only",
    f"T2\tSign 0 8\t{SECRET}{SECRET}": "mention text unlike the offsets",
    f"T2\tO 0 7\t{SECRET}": "mention of type O, which means no entity",
    f"T2\tSign 0-7\t{SECRET}": "malformed T line",
    f"T2 Sign 0 7 {SECRET}": "malformed T line",
    "T2\tSign 0 7": "malformed T line",
    f"T2\tSign 0 {'9' * 5000}\t{SECRET}": "malformed T line",
    f"T1\tSign 0 7\t{SECRET}": "mention id used twice",
    f"X1\tSign 0 7\t{SECRET}": "unknown line",
    SECRET: "unknown line",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=[f"{i}" for i in range(len(BAD_LINES))])
def test_a_bad_line_is_named_or_skipped_and_counted(tmp_path: Path, line: str) -> None:
    write_note(tmp_path, TEXT, f"T1\tDisease 12 18\tasthma\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        read(tmp_path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{tmp_path / 'note.ann'}, line 2: {BAD_LINES[line]}. " in message
    assert SECRET not in message

    (note,), account = read(tmp_path, skip_invalid=True)
    assert [mention.id for mention in note.mentions] == ["T1"]
    assert account.mentions_invalid + account.lines_skipped == {BAD_LINES[line]: 1}
    assert account.mentions_read == 1 + account.mentions_invalid.total()


BAD_FILES = {
    "not UTF-8": (SECRET.encode() + b"\xe9", b"", ".txt"),
    "note over 1,000,000 characters": (b"x" * 1_000_001, b"", ".txt"),
    ".txt without .ann": (SECRET.encode(), None, ".txt"),
    ".ann without .txt": (None, SECRET.encode(), ".ann"),
}


@pytest.mark.parametrize("reason", BAD_FILES)
def test_a_bad_file_is_named_or_skipped_and_counted(tmp_path: Path, reason: str) -> None:
    txt, ann, culprit = BAD_FILES[reason]
    for suffix, data in ((".txt", txt), (".ann", ann)):
        if data is not None:
            (tmp_path / f"bad{suffix}").write_bytes(data)
    write_note(tmp_path, TEXT, "", "good")
    with pytest.raises(CorpusError) as caught:
        read(tmp_path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{tmp_path / 'bad'}{culprit}: {reason}. " in message
    assert SECRET not in message

    notes, account = read(tmp_path, skip_invalid=True)
    assert [note.id for note in notes] == ["good"]
    assert account.notes_read == 2
    assert account.notes_skipped == {reason: 1}


def test_annotation_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_note(tmp_path, TEXT, b"\xff")
    with pytest.raises(CorpusError, match=r"note\.ann: not UTF-8"):
        read(tmp_path)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_note(tmp_path, TEXT, "", "good")
    write_note(tmp_path, TEXT, "", os.fsdecode(b"b\xffd"))
    with pytest.raises(CorpusError, match=r"b\\udcffd: file name not UTF-8"):
        read(tmp_path)
    notes, account = read(tmp_path, skip_invalid=True)
    assert [note.id for note in notes] == ["good"]
    assert account.notes_skipped == {"file name not UTF-8": 1}


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no note here"):
        read(tmp_path, skip_invalid=True)


@st.composite
def notes(draw: st.DrawFn, alphabet: st.SearchStrategy[str]) -> Note:
    """A random text with random mentions, some of them in fragments."""
    text = "".join(draw(st.lists(alphabet, min_size=1, max_size=40)))
    inside = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted).map(tuple)
    fragment = inside.filter(lambda piece: text[slice(*piece)].strip())
    if not text.strip():
        return Note("note", text, ())
    pieces = draw(st.lists(st.lists(fragment, min_size=1, max_size=3).map(tuple), max_size=5))
    mentions = (Mention(f"T{i}", "Type", fragments) for i, fragments in enumerate(pieces))
    return Note("note", text, tuple(mentions))


ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\ufeff")
LINES = st.sampled_from(["\r\n", "\n", " ", "a", "\u00e9", "\U0001f912"])


@settings(deadline=None)
@given(note=notes(ANY | LINES))
def test_what_brat_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, note: Note
) -> None:
    folder = tmp_path_factory.mktemp("brat")
    write_note(folder, note.text, "".join(t_line(m, note.text) for m in note.mentions))
    assert read(folder)[0] == [note]


@settings(deadline=None)
@given(note=notes(st.sampled_from(["\n", " ", "a", "b", "\u00e9", "\U0001f912"])))
def test_offsets_that_count_crlf_as_one_are_read(
    tmp_path_factory: pytest.TempPathFactory, note: Note
) -> None:
    folder = tmp_path_factory.mktemp("brat")
    lines = [t_line(mention, note.text) for mention in note.mentions]
    write_note(folder, note.text.replace("\n", "\r\n"), "".join(lines))
    (found,), _ = read(folder)
    assert [t_line(mention, found.text) for mention in found.mentions] == lines
