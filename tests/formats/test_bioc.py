"""BioC, as the bioc library writes it, and as PubTator 3 serves it."""

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
