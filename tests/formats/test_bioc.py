"""BioC, as the bioc library writes it, PubTator and the XML of i2b2."""

import json
import traceback
from pathlib import Path
from typing import Any

import pytest

from spacy_btl.corpora.report import OTHER_ANNOTATION
from spacy_btl.errors import CorpusError
from tests.formats.reading import COUGH, DRY, FEVER, MENTIONS, SECRET, TEXT, read, shown

bioc = pytest.importorskip("bioc", reason="needs the extra: spacy-btl[bioc]")
from bioc import biocjson, biocxml  # noqa: E402

PLACES = [(FEVER, "Sign"), (COUGH, "Sign"), (DRY, "Detail")]
# XML has no carriage returns.
PLAIN = TEXT.replace("\r\n", "  ")


def annotation(number: int, text: str, *places: tuple[int, int], label: str = "Sign") -> Any:
    one = bioc.BioCAnnotation()
    one.id, one.infons["type"] = str(number), label
    one.text = " ".join(text[start:end] for start, end in places)
    for start, end in places:
        one.add_location(bioc.BioCLocation(start, end - start))
    return one


def collection(*documents: Any) -> Any:
    whole = bioc.BioCCollection()
    whole.source, whole.date, whole.key = "made", "today", "none"
    for one in documents:
        whole.add_document(one)
    return whole


def document(name: str, *, unit: str = "", sentences: bool = False) -> Any:
    """A title, and a passage with the mentions, with a relation and a mention of two pieces."""
    title, whole = "\U0001f912 A title", bioc.BioCDocument()
    whole.id = name
    text = f"{title}\n{PLAIN}"

    def offset(place: int) -> int:
        return len(text[:place].encode(unit)) if unit else place

    at = len(title) + 1
    for start, content in ((0, title), (at, PLAIN)):
        passage = bioc.BioCPassage()
        passage.offset = offset(start)
        holder = passage
        if sentences:
            holder = bioc.BioCSentence()
            holder.offset = passage.offset
            passage.add_sentence(holder)
        holder.text = content
        if start:
            for i, ((first, last), label) in enumerate(PLACES, start=1):
                one = annotation(i, text, (at + first, at + last), label=label)
                place = one.locations[0]
                place.offset, end = offset(place.offset), offset(place.offset + place.length)
                place.length = end - place.offset
                holder.add_annotation(one)
        whole.add_passage(passage)
    relation = bioc.BioCRelation()
    relation.id = "R1"
    relation.add_node(bioc.BioCNode("1", "of"))
    whole.add_relation(relation)
    return whole


def write(path: Path, whole: Any) -> Path:
    dump = biocxml if path.suffix == ".xml" else biocjson
    path.write_text(dump.dumps(whole), "utf-8")
    return path


@pytest.mark.parametrize("suffix", ["xml", "json"])
@pytest.mark.parametrize("unit", ["", "utf-8"])
@pytest.mark.parametrize("sentences", [False, True])
def test_what_bioc_writes_is_read(tmp_path: Path, suffix: str, unit: str, sentences: bool) -> None:
    whole = collection(document("7", unit=unit, sentences=sentences))
    (note,), report = read(write(tmp_path / f"n.{suffix}", whole))
    assert (note.id, note.text) == ("7", f"\U0001f912 A title\n{PLAIN}")
    assert shown(note) == MENTIONS
    assert report.format == f"BioC {suffix.upper()}"
    counted = {"notes whose offsets count UTF-8 bytes": 1} if unit else {}
    assert report.remarks == {OTHER_ANNOTATION: 1, **counted}


@pytest.mark.parametrize("suffix", ["xml", "json"])
def test_pieces_far_offsets_and_an_empty_document(tmp_path: Path, suffix: str) -> None:
    whole, empty = bioc.BioCDocument(), bioc.BioCDocument()
    whole.id, empty.id = "1", "2"
    passage = bioc.BioCPassage()
    passage.offset, passage.text = 5000, "left and right knee"  # an excerpt of a long text
    piece = annotation(1, " " * 5000 + passage.text, (5000, 5004), (5015, 5019))
    passage.add_annotation(piece)
    passage.add_annotation(annotation(2, "", label="Whole"))  # of the document: no location
    whole.add_passage(passage)
    notes, report = read(write(tmp_path / f"n.{suffix}", collection(whole, empty)))
    assert notes[0].mentions[0].fragments == ((0, 4), (15, 19))
    assert [(note.text, len(note.mentions)) for note in notes] == [(passage.text, 1), ("", 0)]
    assert report.remarks[OTHER_ANNOTATION] == 1


def test_the_answer_of_pubtator_3(tmp_path: Path) -> None:
    """It has no collection, other keys and relations of its own."""
    passage = {
        "infons": {"type": "title"},
        "offset": 0,
        "text": "No fever.",
        "sentences": [],
        "annotations": [
            {
                "id": "2",
                "infons": {"type": "Disease", "identifier": "D005334"},
                "text": "fever",
                "locations": [{"offset": 3, "length": 5}],
            }
        ],
        "relations": [],
    }
    answer = {
        "_id": "12|None",
        "id": "12",
        "infons": {},
        "passages": [passage],
        "relations": [{"id": "R1", "infons": {"role1": {}}}],
    }
    for name, value in (("whole", {"PubTator3": [answer]}), ("line", answer)):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
        (note,), report = read(tmp_path / f"{name}.json")
        assert (note.id, shown(note)) == ("12", [("fever", "Disease")])
        assert report.remarks == {OTHER_ANNOTATION: 1}


BROKEN = [
    ("n.xml", lambda data: data[:-30], "looks like BioC XML, but line"),
    ("n.xml", lambda data: data.replace(b"<offset>0", b"<offset>Zyxwvut"), "looks like BioC XML"),
    ("n.json", lambda data: data[:-30], "broken JSON"),
    ("n.json", lambda data: data.replace(b'"locations"', b'"x"'), "looks like BioC JSON, but bioc"),
]


@pytest.mark.parametrize(("name", "damage", "flaw"), BROKEN, ids=range(len(BROKEN)))
def test_a_damaged_file_says_what_it_looks_like(
    tmp_path: Path, name: str, damage: Any, flaw: str
) -> None:
    src = write(tmp_path / name, collection(document("1")))
    src.write_bytes(damage(src.read_bytes()))
    with pytest.raises(CorpusError) as caught:
        read(src)
    message = "".join(traceback.format_exception(caught.value))
    assert flaw in message
    assert SECRET not in message


def test_a_mention_that_is_not_in_its_passage_is_named(tmp_path: Path) -> None:
    whole = document("1")
    whole.passages[1].annotations[0].text = SECRET
    src = write(tmp_path / "n.xml", collection(whole))
    with pytest.raises(CorpusError, match=r"document 1, annotation 1: mention text differs"):
        read(src)


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
