"""Which format a source is of, by what it holds; archives, folders and missing libraries."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span

from spacy_btl.errors import BtlError, CorpusError
from spacy_btl.formats import registry
from spacy_btl.formats.convert import convert
from tests.formats.reading import COUGH, DRY, FEVER, MENTIONS, SECRET, TEXT, read, shown

RECORD = {"text": "No fever.", "ents": [[3, 8, "Sign"]]}
REGION = {"start": 3, "end": 8, "text": "fever", "labels": ["Sign"]}
TASK = {"id": 1, "data": {"text": "No fever."}, "annotations": [{"result": [{"value": REGION}]}]}
CONCEPT = {"start": 3, "end": 8, "value": "fever", "cui": "Sign", "correct": True}
PROJECT = {"documents": [{"name": "n", "text": "No fever.", "annotations": [CONCEPT]}]}
PASSAGE = {"offset": 0, "text": "No fever.", "annotations": []}
FILES = {
    "a.jsonl": (json.dumps(RECORD), "JSON records"),
    "b.json": (json.dumps([RECORD], indent=1), "JSON records"),
    "c.json": (json.dumps([TASK]), "Label Studio JSON"),
    "d.json": (json.dumps([{"text": "No fever.", "label": [REGION]}]), "Label Studio JSON_MIN"),
    "e.json": (json.dumps({"projects": [PROJECT]}), "MedCATtrainer"),
    "f.json": (json.dumps({"documents": [{"passages": [PASSAGE]}]}), "BioC JSON"),
    "g.json": ('{"%TYPES": {}, "%FEATURE_STRUCTURES": []}', "UIMA CAS"),
    "h.xmi": ('<?xml version="1.0"?>\n<xmi:XMI xmlns:xmi="x"></xmi:XMI>', "UIMA CAS"),
    "i.xml": ("<!DOCTYPE collection>\n<collection><document/></collection>", "BioC XML"),
    "j.xml": ("<r><TEXT>No fever.</TEXT><TAGS/></r>", "i2b2 XML"),
    "k.tsv": ("#FORMAT=WebAnno TSV 3.3\n", "WebAnno TSV 3"),
    "l.txt": ("1|t|No fever.\n1\t3\t8\tfever\tSign\tX\n", "PubTator"),
    "m.conll": ("No O\nfever B-Sign\n", "CoNLL"),
    "n.tsv": ("No\tO\nfever\tB-Sign\n", "CoNLL"),
    "o": ("\ufeff" + json.dumps(RECORD), "JSON records"),  # no suffix, and a byte order mark
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognised_by_what_it_holds(tmp_path: Path, name: str) -> None:
    content, expected = FILES[name]
    (tmp_path / name).write_text(content, "utf-8")
    sources = registry.sources_of(tmp_path / name)
    assert registry._format_of(tmp_path, sources).name == expected


@pytest.mark.parametrize(
    "content", ["", SECRET, f"{SECRET} had a fever.\n", "<html></html>", "\0\1"]
)
def test_what_no_rule_knows_is_refused(tmp_path: Path, content: str) -> None:
    src = tmp_path / "n.xml"
    src.write_text(content)
    with pytest.raises(CorpusError, match=r"n\.xml: of no format that is read: a brat fol") as e:
        read(src)
    assert SECRET not in str(e.value)


def test_a_folder_or_archive_holds_one_format(tmp_path: Path) -> None:
    for name in ("a.jsonl", "m.conll"):
        (tmp_path / name).write_text(FILES[name][0])
    with pytest.raises(BtlError, match=r"holds CoNLL \(m\) and JSON records \(a\)\. Give files of"):
        read(tmp_path)
    (tmp_path / "m.conll").rename(tmp_path / "m.doc")
    with pytest.raises(BtlError, match=r"m\.doc: a file of another kind"):
        read(tmp_path)


def test_an_archive_is_read_like_a_folder(tmp_path: Path) -> None:
    src = tmp_path / "export.zip"
    with zipfile.ZipFile(src, "w") as archive:
        for name in ("b", "a"):
            archive.writestr(
                f"in/{name}.jsonl", json.dumps({**RECORD, "text": f"No fever. {name}"})
            )
        archive.writestr("__MACOSX/a.jsonl", "x")
        archive.writestr("in/README.md", "x")
    notes, _ = read(src)
    assert [note.id for note in notes] == ["in/b/line-000001", "in/a/line-000001"]
    src.write_bytes(src.read_bytes()[:-40])
    with pytest.raises(CorpusError, match=r"export\.zip: not a zip archive, or a damaged one"):
        read(src)


def test_archives_in_archives_end(tmp_path: Path) -> None:
    inner = b""
    for _ in range(6):
        path = tmp_path / "n.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("n.zip", inner)
        inner = path.read_bytes()
    with pytest.raises(CorpusError, match="more than 3 archives in one another"):
        read(path)


@pytest.mark.parametrize(("name", "extra"), [("h.xmi", "inception"), ("i.xml", "bioc")])
def test_the_extra_of_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    (tmp_path / name).write_text(FILES[name][0])
    monkeypatch.setattr(registry, "find_spec", lambda library: None)
    with pytest.raises(CorpusError, match=rf"pip install '\.\[{extra}\]' in the clone"):
        read(tmp_path / name)


def test_broken_json_names_its_line(tmp_path: Path) -> None:
    src = tmp_path / "n.json"
    src.write_text('[\n {"text": "' + SECRET + '",\n  "ents": [}\n]')
    with pytest.raises(CorpusError) as caught:
        read(src)
    assert str(caught.value) == f"{src}, line 3: broken JSON. Export the file again."


def docs() -> list[Doc]:
    """Entities; mentions that overlap and have fragments; a span categorizer's; none; missing."""
    nlp = spacy.blank("en")
    plain, overlapping, sc, unknown, missing = (
        nlp.make_doc(f"{TEXT} {i}" if i else TEXT) for i in range(5)
    )
    plain.ents = [plain.char_span(*FEVER, label="Sign"), plain.char_span(*COUGH, label="Sign")]
    spans = [(FEVER, "Sign"), (COUGH, "Sign"), (DRY, "Detail")]
    for doc, key in ((overlapping, "mentions"), (sc, "sc")):
        doc.spans[key] = [doc.char_span(*place, label=label) for place, label in spans]
    first, last = overlapping.char_span(2, 4), overlapping.char_span(23, 28)
    pieces = [
        Span(overlapping, one.start, one.end, label="Both", span_id="D1") for one in (first, last)
    ]
    overlapping.spans["mentions"] = [*overlapping.spans["mentions"], *pieces]
    overlapping.user_data.update(note_id="own", patient_id=7)
    missing.set_ents([], missing=[missing[1:2]], default="outside")
    return [plain, overlapping, sc, unknown, missing]


def test_spacy_files(tmp_path: Path) -> None:
    src = tmp_path / "n.spacy"
    DocBin(docs=docs(), store_user_data=True).to_disk(src)
    notes, report = read(src)
    assert [(note.id, shown(note)) for note in notes] == [
        ("doc-000001", MENTIONS[:2]),
        ("own", [*MENTIONS, ("No cough", "Both")]),
        ("doc-000003", MENTIONS),
        ("doc-000005", []),
    ]
    assert [note.patient for note in notes] == [None, "7", None, None]
    assert notes[1].mentions[-1].fragments == ((2, 4), (23, 28))
    assert notes[-1].missing == ((2, 4),)
    assert report.notes_skipped == {"doc without annotation": 1}


def test_what_convert_writes_is_converted_to_the_same(tmp_path: Path) -> None:
    ents = [[*FEVER, "Sign"], [*COUGH, "Sign"], [*DRY, "Detail"], [3, 99, "Detail"]]
    record: dict[str, Any] = {"id": "a", "text": TEXT, "ents": ents[:3]}
    (tmp_path / "n.jsonl").write_text(json.dumps(record))
    first = convert(tmp_path / "n.jsonl", tmp_path / "one.spacy")
    second = convert(tmp_path / "one.spacy", tmp_path / "two.spacy")
    assert (first.format, second.format) == ("JSON records", ".spacy")
    assert (tmp_path / "one.spacy").read_bytes() == (tmp_path / "two.spacy").read_bytes()


def test_a_source_without_files(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone: no such file or folder"):
        read(tmp_path / "gone")
    with pytest.raises(CorpusError, match=r"no file that could hold annotation\. Give"):
        read(tmp_path)
    (tmp_path / "n.txt").write_text("A note without annotation.")
    with pytest.raises(CorpusError, match=r"n\.txt: of no format that is read: a brat folder"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["i.xml", "j.xml"])
def test_xml_that_declares_entities_is_not_parsed(tmp_path, name):
    """A harmless one; others name files of the machine, or grow without end."""
    if name == "i.xml":
        pytest.importorskip("bioc", reason="needs the extra: spacy-btl[bioc]")
    content = FILES[name][0].removeprefix("<!DOCTYPE collection>\n")
    declared = f'<!DOCTYPE r [<!ENTITY fever "{SECRET}">]>\n'
    (tmp_path / name).write_text(declared + content)
    with pytest.raises(CorpusError, match="with entities of its own is not read") as caught:
        read(tmp_path)
    assert SECRET not in str(caught.value)


def test_the_type_system_of_a_cas_declares_no_entities_either(tmp_path):
    pytest.importorskip("cassis", reason="needs the extra: spacy-btl[inception]")
    (tmp_path / "h.xmi").write_text(FILES["h.xmi"][0])
    declared = '<!DOCTYPE r [<!ENTITY fever "fever">]>\n<typeSystemDescription/>'
    (tmp_path / "TypeSystem.xml").write_text(declared, "utf-16")
    with pytest.raises(CorpusError, match=r"TypeSystem\.xml of .*h\.xmi: XML with entities"):
        read(tmp_path)
