"""Formats that need no library: CoNLL, PubTator and the XML of i2b2."""

import traceback
from pathlib import Path

import pytest
from seqeval.metrics.sequence_labeling import get_entities

from spacy_btl.corpora.report import OTHER_ANNOTATION
from spacy_btl.errors import CorpusError
from spacy_btl.formats.conll import NO_DOCUMENTS
from spacy_btl.formats.tokens import mentions_of_tags
from tests.formats.reading import COUGH, DRY, FEVER, MENTIONS, SECRET, TEXT, read, shown

# XML has no carriage returns.
PLAIN = TEXT.replace("\r\n", "  ")

SCHEMES = {
    "IOB2": "B-A I-A O B-A B-A O B-B I-B B-A",
    "IOB1": "I-A I-A O I-A B-A O I-B I-B I-A",
    "BIOES": "B-A E-A O S-A S-A O B-B E-B S-A",
    "BILOU": "B-A L-A O U-A U-A O B-B L-B U-A",
    "IOBES": "B-A E-A O B-A S-A O I-B E-B S-A",
}
EXPECTED = [("A", 0, 1), ("A", 3, 3), ("A", 4, 4), ("B", 6, 7), ("A", 8, 8)]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_tags_of_all_schemes(scheme: str) -> None:
    tags = SCHEMES[scheme].split()
    assert list(mentions_of_tags(tags)) == EXPECTED
    if "U-A" not in tags:  # which seqeval's lenient reading does not know
        assert [tuple(one) for one in get_entities(tags)] == EXPECTED


COLUMNS = {
    "two, by tabs": ["\U0001f912\tO", "dry\tB-Sign", "cough\tI-Sign"],
    "two, by spaces": ["\U0001f912 O", "dry I-Sign", "cough I-Sign"],
    "four": ["\U0001f912 NN B-NP O", "dry JJ B-NP B-Sign", "cough NN I-NP I-Sign"],
    "Label Studio's": ["\U0001f912 -X- _ O", "dry -X- _ B-Sign", "cough -X- _ I-Sign"],
    "a number sign": ["# O", "dry B-Sign", "cough I-Sign"],
}
DOCSTART = {"four": "-DOCSTART- -X- -X- O", "Label Studio's": "-DOCSTART- -X- O"}


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("crlf", [False, True])
def test_conll(tmp_path: Path, columns: str, crlf: bool) -> None:
    lines = COLUMNS[columns]
    start = DOCSTART.get(columns, "-DOCSTART-\tO")
    content = "\n".join([start, "", *lines, "", *lines, "", "", start, "", lines[0], "", start, ""])
    src = tmp_path / "n.conll"
    src.write_bytes((content.replace("\n", "\r\n") if crlf else content).encode())
    notes, report = read(src)
    first = lines[0].split()[0]
    sentence = f"{first} dry cough"
    assert [(note.id, note.text) for note in notes] == [
        ("document-000001", f"{sentence}\n{sentence}"),
        ("document-000002", first),
        ("document-000003", ""),
    ]
    assert shown(notes[0]) == [("dry cough", "Sign")] * 2
    assert (report.format, report.remarks) == ("CoNLL", {})


def test_sentences_are_notes_where_no_line_begins_a_document(tmp_path: Path) -> None:
    src = tmp_path / "n.txt"
    src.write_text("# sent_id = 1\nfever\tB-Sign\n\n\nNo\tO\ncough\tB-Sign\n")
    notes, report = read(src)
    assert [(note.id, note.text) for note in notes] == [
        ("sentence-000001", "fever"),
        ("sentence-000002", "No cough"),
    ]
    assert report.remarks == {NO_DOCUMENTS: 2}
    (tmp_path / "m.iob").write_text("# newdoc id = x\npain B-Sign\n")
    notes, _ = read(tmp_path)
    assert [note.id for note in notes] == [
        "m/document-000001",
        "n/sentence-000001",
        "n/sentence-000002",
    ]


def test_a_bad_tag_is_named_and_its_note_skipped(tmp_path: Path) -> None:
    src = tmp_path / "n.conll"
    good = "-DOCSTART- O\n\nNo O\nfever B-Sign\nnow O\n"
    src.write_text(f"{good}\n-DOCSTART- O\n\nNo O\n{SECRET} Sign\n")
    with pytest.raises(CorpusError) as caught:
        read(src)
    assert f"{src}, line 10: a tag other than O and B-TYPE" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert len(read(src, skip=True)[0]) == 1


PUBTATOR = """12|t|\U0001f912 No fever
12|a|A dry cough. \t
12\t5\t10\tfever\tSign\tD005334
12\t13\t22\tdry cough\tSign\t
12\t13\t16\tdry\tDetail\tX\tdry
12\tCID\tD005334\tX

13|t|Well.
13|a|
"""


@pytest.mark.parametrize("crlf", [False, True])
def test_pubtator(tmp_path: Path, crlf: bool) -> None:
    content = PUBTATOR.replace("\n", "\r\n") if crlf else PUBTATOR
    (tmp_path / "n.pubtator").write_bytes(content.encode())
    notes, report = read(tmp_path / "n.pubtator")
    assert [(note.id, note.text) for note in notes] == [
        ("12", "\U0001f912 No fever\nA dry cough. \t"),
        ("13", "Well.\n"),
    ]
    assert shown(notes[0]) == [("fever", "Sign"), ("dry", "Detail"), ("dry cough", "Sign")]
    assert (report.format, report.remarks) == ("PubTator", {OTHER_ANNOTATION: 1})


def test_a_bad_line_of_pubtator_is_named_and_its_note_skipped(tmp_path: Path) -> None:
    src = tmp_path / "n.txt"
    src.write_text(PUBTATOR.replace("12\t5\t10", f"{SECRET} 5 10"))
    with pytest.raises(CorpusError) as caught:
        read(src)
    assert f"{src}, line 3: neither a text nor a mention" in str(caught.value)
    assert SECRET not in str(caught.value)
    notes, _ = read(src, skip=True)
    assert [note.id for note in notes] == ["13"]


def i2b2(text: str, *tags: str) -> str:
    inner = "\n".join(tags)
    return (
        '<?xml version="1.0" encoding="UTF-8" ?>\n<deIdi2b2>\n'
        f"<TEXT><![CDATA[{text}]]></TEXT>\n<TAGS>\n{inner}\n</TAGS>\n</deIdi2b2>\n"
    )


def tag(name: str, place: tuple[int, int], text: str, **attributes: str) -> str:
    start, end = place
    other = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<{name} id="P{start}" start="{start}" end="{end}" text="{text}"{other} comment="" />'


LINK = '<TLINK id="TL0" fromID="E1" toID="T0" type="BEFORE" />'
NOWHERE = '<SMOKER id="S0" start="-1" end="-1" status="never" />'


@pytest.mark.parametrize("shift", [0, 1])
def test_i2b2(tmp_path: Path, shift: int) -> None:
    # Beyond the BMP, offsets from 1 and UTF-16 units are the same.
    text = PLAIN.replace("\U0001f912", "\u2713") if shift else PLAIN
    places = [tuple(offset + shift for offset in place) for place in (FEVER, COUGH, DRY)]
    tags = [
        tag("EVENT", places[0], "fever", type="Sign", polarity="NEG"),
        tag("EVENT", places[1], "mild dry cough", TYPE="Sign"),
        tag("Detail", places[2], "dry"),
    ]
    (tmp_path / "110-01.xml").write_bytes(i2b2(text, *tags, LINK, NOWHERE).encode())
    (tmp_path / "110-02.xml").write_bytes(i2b2("").encode())
    notes, report = read(tmp_path)
    assert [(note.id, note.text) for note in notes] == [("110-01", text), ("110-02", "")]
    assert shown(notes[0]) == MENTIONS
    shifted = {"notes whose offsets count from 1": 1} if shift else {}
    assert report.remarks == {OTHER_ANNOTATION: 2, **shifted}
    assert report.format == "i2b2 XML"


def test_bad_i2b2_is_named(tmp_path: Path) -> None:
    src = tmp_path / "n.xml"
    src.write_text(i2b2(SECRET, tag("NAME", (0, 7), "other", TYPE="DOCTOR")))
    with pytest.raises(CorpusError, match=r"n\.xml, tag 1: mention text differs"):
        read(src)
    src.write_text(i2b2(SECRET)[:-20])
    with pytest.raises(
        CorpusError, match=r"n\.xml, line 6: looks like i2b2 XML, but is broken"
    ) as e:
        read(src)
    assert SECRET not in "".join(traceback.format_exception(e.value))
