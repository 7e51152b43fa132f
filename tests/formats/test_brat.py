"""Brat folders: offsets, line ends, byte order marks, and everything that can be wrong."""

import json
import os
import re
import traceback
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_btl.corpora.note import Mention, Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import CorpusError
from spacy_btl.formats.brat import OTHER_ATTRIBUTE, read_brat
from spacy_btl.formats.brat_types import brat_type, label_of

SECRET = "Zyxwvut"  # stands for what must never be in a message
OTHER_TEXT = "mention text differs from the text at its offsets"
TEXT = f"{SECRET} has asthma.\nNo fever."


def write_note(folder: Path, txt: str | bytes, ann: str | bytes, name: str = "note") -> None:
    for suffix, content in ((".txt", txt), (".ann", ann)):
        data = content if isinstance(content, bytes) else content.encode("utf-8")
        (folder / f"{name}{suffix}").write_bytes(data)


def read(folder: Path, *, skip_invalid: bool = False) -> tuple[list[Note], ConversionReport]:
    report = ConversionReport(skip_invalid=skip_invalid)
    notes = list(read_brat(folder, report=report))
    for note in notes:
        report.count_mentions(note)
    return notes, report


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
    notes, report = read(tmp_path)
    mentions = (
        Mention("T1", "Disease", ((12, 18),)),
        Mention("T2", "Sign", ((23, 28),), ("negated",)),
    )
    assert notes == [Note("note", TEXT, mentions)]
    assert (report.notes_read, report.total("read")) == (1, 2)


def test_attributes_that_are_assertions_are_kept_and_the_others_counted(tmp_path: Path) -> None:
    ann = (
        "T1\tDisease 12 18\tasthma\nT2\tSign 23 28\tfever\nE1\tSign:T2\n"
        "A1\tNegated T2\nA2\tfamily T2\nA3\tNegated T2\nA4\tUncertain E1\n"
        "A5\tNegated T9\nA6\tNegated T1 partly\nA7\tColour T1\nA8\tHistorical\nA9 Negated T1\n"
        "A10\tHistorical T1\r\n"
    )
    write_note(tmp_path, TEXT, ann)
    (note,), report = read(tmp_path)
    assert [mention.assertions for mention in note.mentions] == [
        ("historical",),
        ("negated", "other"),
    ]
    assert report.assertions == {"historical": 1, "negated": 1, "other": 1}
    # Of an event, of no mention, with a value, of another name, incomplete, without a tab.
    assert report.remarks == {OTHER_ATTRIBUTE: 6}
    assert json.loads(json.dumps(report.to_json()))["assertions"] == report.assertions


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
    assert note.mentions[0].enclosing_span == (0, 19)


CRLF, BOM_COUNTED = "CRLF as one", "the byte order mark"


@pytest.mark.parametrize(
    ("txt", "offsets", "counted"),
    [
        ("Cough.\r\nFever.", "8 13", ""),
        ("Cough.\r\nFever.", "7 12", CRLF),
        ("\ufeffCough. Fever.", "7 12", ""),
        ("\ufeffCough. Fever.", "8 13", BOM_COUNTED),
        ("\ufeffCough.\r\nFever.", "8 13", ""),
        ("\ufeffCough.\r\n\r\nFever.", "9 14", f"{CRLF}, {BOM_COUNTED}"),
        ("\U0001f912 e\u0301 \U0001d5a0 Fever.", "7 12", ""),
        ("\U0001f912 e\u0301 \U0001d5a0 Fever.", "9 14", "UTF-16 code units"),
        ("\U0001f912 e\u0301 \U0001d5a0 Fever.", "14 19", "UTF-8 bytes"),
        ("\U0001f912\U0001f912\r\nFever.", "5 10", f"UTF-16 code units, {CRLF}"),
        ("\nCough.\nFever.", "10 15", "LF as two"),
        ("\ufeffCough.\nFever.", "9 14", "LF as two, the byte order mark"),
        ("\ufeff\u00e9\r\nFever.", "7 12", f"UTF-8 bytes, {BOM_COUNTED}"),
    ],
)
def test_takes_the_reading_in_which_the_offsets_hold(
    tmp_path: Path, txt: str, offsets: str, counted: str
) -> None:
    write_note(tmp_path, txt, f"\ufeffT1\tSign {offsets}\tFever\r\n")
    (note,), report = read(tmp_path)
    assert note.text == txt.removeprefix("\ufeff")  # never changed
    ((start, end),) = note.mentions[0].fragments
    assert note.text[start:end] == "Fever"
    assert report.remarks == ({f"notes whose offsets count {counted}": 1} if counted else {})


def test_of_several_readings_the_one_with_the_fewest_flaws_is_taken(tmp_path: Path) -> None:
    ann = "T1\tSign 7 12\tFever\nT2\tSign 0 5\tCramp\nT3\tSign 14 18\tPain\n"
    write_note(tmp_path, "Cough.\r\nFever. Pain.", ann)
    with pytest.raises(CorpusError, match=rf"note\.ann, line 2: {OTHER_TEXT}"):
        read(tmp_path)
    (note,), _ = read(tmp_path, skip_invalid=True)
    assert [note.text[slice(*mention.enclosing_span)] for mention in note.mentions] == [
        "Fever",
        "Pain",
    ]


def test_white_space_of_the_text_column_is_normalised(tmp_path: Path) -> None:
    write_note(
        tmp_path, "8\u2005mg\nof it", "T1\tDose 0 4\t8 mg\t\u2005\nT2\tDose 2 7\tmg\u2028of\n"
    )
    (note,), _ = read(tmp_path)
    assert len(note.mentions) == 2


# What is wrong, and where annotation is then missing; None, if the note is left out.
BAD_LINES = {
    f"T2\tSign 0 99\t{SECRET}": ("mention offsets outside the text", None),
    f"T2\tSign 9 9\t{SECRET}": ("mention with start >= end", None),
    f"T2\tSign 7 0\t{SECRET}": ("mention with start >= end", None),
    "T2\tSign 7 8\t ": ("mention of white space only", ((7, 8),)),
    f"T2\tSign 0 8\t{SECRET}{SECRET}": (
        "mention text differs from the text at its offsets",
        ((0, 8),),
    ),
    "T2\tSign 23 28\tasthma": (
        "mention text differs from the text at its offsets",
        ((23, 28), (12, 18)),
    ),
    f"T2\tO 0 7\t{SECRET}": ("mention of type O, which means no entity", ((0, 7),)),
    f"T2\tSign 0-7\t{SECRET}": ("malformed T line", None),
    f"T2\tSign 0 4 5 7\t{SECRET}": ("malformed T line", None),
    f"T2 Sign 0 7 {SECRET}": ("malformed T line", None),
    f"T2\tSign 0 {'9' * 5000}\t{SECRET}": ("malformed T line", None),
    f"T1\tSign 0 7\t{SECRET}": ("mention id used twice", ((0, 7),)),
    f"X1\tSign 0 7\t{SECRET}": ("unknown line", None),  # it may be a mention
    f" T2\tSign 0 7\t{SECRET}": ("unknown line", None),
    SECRET: ("unknown line", ()),
}


@pytest.mark.parametrize("line", BAD_LINES, ids=[f"{i}" for i in range(len(BAD_LINES))])
def test_a_bad_line_is_named_or_skipped_and_counted(tmp_path: Path, line: str) -> None:
    reason, missing = BAD_LINES[line]
    write_note(tmp_path, TEXT, f"T1\tDisease 12 18\tasthma\n{line}\n")
    with pytest.raises(CorpusError) as caught:
        read(tmp_path)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{tmp_path / 'note.ann'}, line 2: {reason}. " in message
    assert SECRET not in message

    notes, report = read(tmp_path, skip_invalid=True)
    counted = report.notes_skipped + report.mentions_invalid + report.lines_skipped
    assert counted == {reason: 1}
    if missing is None:
        assert not notes
    else:
        assert [mention.id for mention in notes[0].mentions] == ["T1"]
        assert dict.fromkeys(notes[0].missing) == dict.fromkeys(missing)
    assert report.total("read") == sum(len(n.mentions) + len(n.skipped) for n in notes)


def test_what_other_tools_write_in_t_lines_is_read(tmp_path: Path) -> None:
    text = "left and right knee, no fever"
    ann = (
        "T1\tSign 24 29\tfever\tC0015967\n"  # a fifth column
        "T2\tSign 24 29\n"  # no text
        "T3\tSite 0 4;15 19\tleftknee\n"  # pieces joined without a blank
        "T4\tBody site 9 19\tright knee\n"  # blanks in the type
        "T5\t Stage\u00a02 site  9 19\tright knee\n"
        "T6\tSite 9 19\tright\tknee\n"  # which are white space of the text
    )
    write_note(tmp_path, text, ann)
    (note,), report = read(tmp_path)
    types = ["Sign", "Sign", "Site", "Body site", "Stage 2 site", "Site"]
    assert [mention.type for mention in note.mentions] == types
    assert report.remarks == {
        "labels with normalized white space": 1,
        "mentions without a text to check their offsets": 1,
    }


def test_a_last_line_that_may_be_cut_off_is_refused(tmp_path: Path) -> None:
    write_note(tmp_path, TEXT, "T1\tDisease 12 1")
    with pytest.raises(CorpusError, match=r"line 1: malformed T line"):
        read(tmp_path)
    write_note(tmp_path, TEXT, "T1\tDisease 12 18")
    with pytest.raises(CorpusError, match=r"line 1: malformed T line"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "said", "is_taken"),
    [
        ("5  g/kg", "5 \u03bcg/kg", True),
        ("17? -E2", "17\u03b2 -E2", True),
        ("???? ok", "\u6025\u6027\u80ba\u708e ok", True),
        ("clot", "cl0t", True),
        ("fever no", "no fever", False),
        ("cough", "ough ", False),
        ("5 mcg/kg", "5 mcg/k", False),
    ],
)
def test_offsets_are_trusted_where_only_characters_differ_if_asked(
    tmp_path: Path, text: str, said: str, is_taken: bool
) -> None:
    write_note(tmp_path, f"{text}, as", f"T1\tDose 0 {len(text)}\t{said}\n")
    with pytest.raises(CorpusError, match=OTHER_TEXT):
        read(tmp_path)
    report = ConversionReport(skip_invalid=True, trust_offsets=True)
    (note,) = read_brat(tmp_path, report=report)
    assert len(note.mentions) == is_taken
    remark = {"mentions whose text differs in some characters": 1}
    assert report.remarks == (remark if is_taken else {})


def test_sub_folders_are_read_and_capitals_of_the_suffix_do_not_count(tmp_path: Path) -> None:
    for folder in ("", "ward-a", "ward-b", ".hidden"):
        (tmp_path / folder).mkdir(exist_ok=True)
        write_note(tmp_path / folder, f"cough {folder}", "T1\tSign 0 5\tcough\n", "n1")
    (tmp_path / "ward-a" / "n1.txt").rename(tmp_path / "ward-a" / "n1.TXT")
    (tmp_path / "ward-a" / "n1.ann").rename(tmp_path / "ward-a" / "n1.Ann")
    notes, report = read(tmp_path)
    assert [note.id for note in notes] == ["n1", "ward-a/n1", "ward-b/n1"]
    assert [note.where for note in notes] == ["n1.txt", "ward-a/n1.TXT", "ward-b/n1.txt"]
    assert (report.notes_read, report.total("read")) == (3, 3)


def test_texts_and_annotations_may_lie_in_two_folders(tmp_path: Path) -> None:
    for folder, suffix, content in (("txt", ".txt", "cough"), ("brat", ".ann", "T1\tA 0 5\tcough")):
        (tmp_path / folder / "w").mkdir(parents=True)
        for name in ("n1", "w/n2"):
            (tmp_path / folder / f"{name}{suffix}").write_text(content)
    notes, _ = read(tmp_path)
    assert [(note.id, len(note.mentions)) for note in notes] == [("n1", 1), ("w/n2", 1)]
    (tmp_path / "txt" / "n3.txt").touch()
    with pytest.raises(CorpusError, match=r"txt/n3\.txt: \.txt without \.ann"):
        read(tmp_path)


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

    notes, report = read(tmp_path, skip_invalid=True)
    assert [note.id for note in notes] == ["good"]
    assert report.notes_read == 2
    assert report.notes_skipped == {reason: 1}


def test_annotation_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_note(tmp_path, TEXT, b"\xff")
    with pytest.raises(CorpusError, match=r"note\.ann: not UTF-8"):
        read(tmp_path)


def test_a_file_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write_note(tmp_path, TEXT, "", "good")
    write_note(tmp_path, TEXT, "", os.fsdecode(b"b\xffd"))
    with pytest.raises(CorpusError, match=r"b\\udcffd: file name not UTF-8"):
        read(tmp_path)
    notes, report = read(tmp_path, skip_invalid=True)
    assert [note.id for note in notes] == ["good"]
    assert report.notes_skipped == {"file name not UTF-8": 1}


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no notes"):
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
@given(note=notes(ANY | LINES), unit=st.sampled_from(["utf-16-le", "utf-8", "crlf", "lf"]))
def test_offsets_in_other_units_give_the_same_mentions(
    tmp_path_factory: pytest.TempPathFactory, note: Note, unit: str
) -> None:
    folder = tmp_path_factory.mktemp("brat")

    def units(characters: int) -> int:
        before = note.text[:characters]
        if unit == "crlf":
            return len(before.replace("\r\n", "\n"))
        if unit == "lf":
            return len(before.replace("\r\n", "\n").replace("\n", "\r\n"))
        return len(before.encode(unit)) // (2 if unit == "utf-16-le" else 1)

    lines = []
    for mention in note.mentions:
        fragments = tuple((units(start), units(end)) for start, end in mention.fragments)
        said = t_line(mention, note.text).split("\t", 2)[2]
        moved = t_line(Mention(mention.id, mention.type, fragments), "").split("\t", 2)[:2]
        lines.append("\t".join([*moved, said]))
    write_note(folder, note.text, "".join(lines))
    notes, report = read(folder, skip_invalid=True)
    said = [line.split("\t", 2)[2].split() for line in lines]
    if notes:  # a reading that came before may hold as well, with the same words elsewhere
        found = [
            t_line(mention, note.text).split("\t", 2)[2].split() for mention in notes[0].mentions
        ]
        assert found == said
        assert not report.mentions_invalid
    else:
        assert report.notes_skipped == {"mention with start >= end": 1}  # half of a CRLF


# Labels in brat: any of them comes back, and no two share a name.

LETTERS = st.characters(exclude_categories=["Cs"])
# Labels that look like the escapes, or nearly.
TRICKY = st.lists(st.sampled_from(["-", "u", "2F", "E9", "_", "é", "疾", "A", "-u41-", "-uD800-"]))
LABELS = st.text(LETTERS, min_size=1) | TRICKY.map("".join).filter(bool)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Sign_symptom", "Sign_symptom"),
        ("Follow-up", "Follow-up"),
        ("Signe/clé", "Signe-u2F-cl-uE9-"),
        ("疾病", "-u75BE_75C5-"),
        ("A-u2F-B", "A-u2D-u2F-B"),
        ("---", "-u2D---"),
    ],
)
def test_names(label, name):
    assert brat_type(label) == name
    assert label_of(name) == label


@given(LABELS)
def test_any_label_has_a_name_that_brat_allows_and_comes_back(label):
    name = brat_type(label)
    assert re.fullmatch("[a-zA-Z0-9_-]+", name)
    assert name.strip("-"), "brat takes it for a rule"
    assert label_of(name) == label


@given(st.text("-u2FDE98_0", min_size=1))
def test_a_name_from_elsewhere_is_read_in_one_way(name):
    label = label_of(name)
    assert label == name or brat_type(label) == name
    assert label.encode("utf-8")
