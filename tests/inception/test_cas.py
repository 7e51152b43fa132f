"""INCEpTION's CAS, as dkpro-cassis writes it: JSON, XMI, archives and projects."""

import json
import traceback
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from spacy_btl.corpora.report import OTHER_ANNOTATION
from spacy_btl.errors import CorpusError
from spacy_btl.inception.layers import NAMED_ENTITY
from tests.formats.reading import COUGH, DRY, FEVER, MENTIONS, SECRET, TEXT, read, shown, utf16

cassis = pytest.importorskip("cassis", reason="needs the extra: spacy-btl[inception]")

DKPRO = "de.tudarmstadt.ukp.dkpro.core.api"
FINDING, ITSELF, RELATION = "webanno.custom.Finding", "webanno.custom.Drug", "webanno.custom.Rel"
JUDGED = "webanno.custom.Judged"
STRING, ANNOTATION = "uima.cas.String", "uima.tcas.Annotation"
PLACES = [(*FEVER, "Sign"), (*COUGH, "Sign"), (*DRY, "Detail")]


def type_system() -> Any:
    """The types of a project with two layers of its own and a relation."""
    types = cassis.load_dkpro_core_typesystem()
    finding = types.create_type(FINDING, ANNOTATION)
    types.create_feature(finding, "kind", STRING)
    types.create_feature(finding, "note", STRING)
    types.create_type(ITSELF, ANNOTATION)
    judged = types.create_type(JUDGED, ANNOTATION)
    types.create_feature(judged, "kind", STRING)
    for name in ("negated", "Family", "checked"):
        types.create_feature(judged, name, "uima.cas.Boolean")
    relation = types.create_type(RELATION, ANNOTATION)
    for end in ("Governor", "Dependent"):
        types.create_feature(relation, end, ANNOTATION)
    return types


TYPES = type_system()


def document(
    places: Sequence[tuple[int, int, str]] = PLACES, text: str = TEXT, **layer: str
) -> Any:
    """A CAS with a sentence, tokens and annotation: of the layer of named entities, if not said."""
    cas = cassis.Cas(typesystem=TYPES)
    cas.sofa_string, cas.sofa_mime = text, "text/plain"
    cas.add(TYPES.get_type(f"{DKPRO}.segmentation.type.Sentence")(begin=0, end=len(text)))
    cas.add(TYPES.get_type(f"{DKPRO}.segmentation.type.Token")(begin=0, end=min(1, len(text))))
    kind = TYPES.get_type(layer.get("name", NAMED_ENTITY))
    for start, end, label in places:
        values = {layer.get("feature", "value"): label} if layer.get("feature", "value") else {}
        cas.add(kind(begin=start, end=end, **values))
    return cas


def xmi_archive(path: Any, cas: Any, name: str = "note") -> Any:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.xmi", cas.to_xmi())
        archive.writestr("TypeSystem.xml", TYPES.to_xml())
    return path


def write(folder: Path, form: str, cas: Any) -> Path:
    if form == "zip":
        return xmi_archive(folder / "note.zip", cas)
    if form == "json":
        (folder / "note.json").write_text(cas.to_json(), "utf-8")
        return folder / "note.json"
    (folder / "TypeSystem.xml").write_text(TYPES.to_xml(), "utf-8")
    (folder / "note.xmi").write_text(cas.to_xmi(), "utf-8")
    return folder / "note.xmi"


@pytest.mark.parametrize("form", ["json", "zip", "xmi"])
def test_what_cassis_writes_is_read(tmp_path: Path, form: str) -> None:
    src = write(tmp_path, form, document())
    assert f'"begin": {utf16(FEVER)[0]}' in document().to_json()  # UTF-16 units
    (note,), report = read(src)
    assert (note.id, note.text, shown(note)) == ("note", TEXT, MENTIONS)
    assert (report.format, report.notes_read, report.remarks) == ("UIMA CAS", 1, {})


@pytest.mark.parametrize("form", ["json", "xmi"])
def test_features_that_are_true_or_false_are_assertions(tmp_path: Path, form: str) -> None:
    kind = TYPES.get_type(JUDGED)
    cas = document([])
    for (start, end), values in (
        (FEVER, {"negated": True, "Family": True}),
        (COUGH, {"negated": False}),
        (DRY, {}),
    ):
        cas.add(kind(begin=start, end=end, kind="Sign", **values))
    (note,), report = read(write(tmp_path, form, cas))
    assert [set(one.assertions) for one in note.mentions] == [{"negated", "other"}, set(), set()]
    assert report.assertions == {"negated": 1, "other": 1}


def test_a_folder_of_both_forms_and_an_empty_document(tmp_path: Path) -> None:
    write(tmp_path, "xmi", document())
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "empty.json").write_text(document([], text="").to_json(), "utf-8")
    notes, _ = read(tmp_path)
    assert [(note.id, note.text, len(note.mentions)) for note in notes] == [
        ("note", TEXT, 3),
        ("sub/empty", "", 0),
    ]


def test_xmi_without_its_types_says_so(tmp_path: Path) -> None:
    src = write(tmp_path, "xmi", document())
    (tmp_path / "TypeSystem.xml").unlink()
    with pytest.raises(CorpusError, match=r"note\.xmi: XMI without its TypeSystem\.xml\. Give"):
        read(src)


@pytest.mark.parametrize("form", ["json", "xmi"])
def test_the_only_layer_and_its_only_feature_are_found(tmp_path: Path, form: str) -> None:
    cas = document(name=FINDING, feature="kind")
    governor, dependent, *_ = cas.select(FINDING)
    relation = TYPES.get_type(RELATION)
    cas.add(relation(begin=14, end=28, Governor=governor, Dependent=dependent))
    (note,), report = read(write(tmp_path, form, cas))
    assert shown(note) == MENTIONS
    assert report.remarks == {OTHER_ANNOTATION: 1}


def test_several_layers_have_to_be_chosen(tmp_path: Path) -> None:
    cas = document()
    cas.add(TYPES.get_type(FINDING)(begin=5, end=10, kind="Fever", note="sure"))
    cas.add(TYPES.get_type(ITSELF)(begin=2, end=4))
    src = write(tmp_path, "json", cas)
    message = r"Several layers .* NamedEntity:value \(3\).*Finding:kind \(1\), Finding:note \(1\)"
    with pytest.raises(CorpusError, match=message):
        read(src)
    with pytest.raises(CorpusError, match=r"Several features .* Finding:kind \(1\), Finding:note"):
        read(src, layers=("Finding",))
    (note,), report = read(src, layers=("Finding:kind",))
    assert (shown(note), report.remarks) == ([("fever", "Fever")], {OTHER_ANNOTATION: 4})
    (note,), _ = read(src, layers=("NamedEntity", ITSELF))
    assert shown(note) == [*MENTIONS, ("No", "Drug")]
    with pytest.raises(CorpusError, match="No annotation is of layer Gone"):
        read(src, layers=("Gone:x",))


def test_a_layer_is_for_inception_only(tmp_path: Path) -> None:
    (tmp_path / "n.jsonl").write_text('{"text": "x", "ents": []}')
    with pytest.raises(CorpusError, match="has no layers"):
        read(tmp_path / "n.jsonl", layers=("A:b",))


def test_the_subtypes_of_named_entities_are_of_their_layer(tmp_path: Path) -> None:
    cas = document()
    cas.add(TYPES.get_type(f"{DKPRO}.ner.type.Person")(begin=2, end=4, value="PER"))
    (note,), _ = read(write(tmp_path, "json", cas))
    assert shown(note) == [*MENTIONS, ("No", "PER")]


def test_annotation_without_a_value_or_a_text(tmp_path: Path) -> None:
    cas = document()
    cas.add(TYPES.get_type(NAMED_ENTITY)(begin=7, end=7, value="Sign"))
    (note,), report = read(write(tmp_path, "json", cas))
    assert report.remarks == {"annotations of no text, not read": 1}
    cas.add(TYPES.get_type(NAMED_ENTITY)(begin=2, end=4))
    src = write(tmp_path, "json", cas)
    with pytest.raises(CorpusError, match=r"annotation \d+: annotation without a value of value"):
        read(src)
    (note,), _ = read(src, skip=True)
    assert note.missing == ((2, 4),)


DAMAGE = [
    (lambda data: data[: len(data) // 2], "line"),
    (lambda data: data.replace(b'"begin": 6', b'"begin": 99'), "an annotation has an offset out"),
    (lambda data: data.replace(b'"begin": 6', b'"begin": 1'), "an annotation has an offset out"),
    (lambda data: data.replace(b"ner.type.NamedEntity", b"ner.type.Gone", 1), "dkpro-cassis can"),
]


@pytest.mark.parametrize(("damage", "flaw"), DAMAGE, ids=range(len(DAMAGE)))
def test_a_damaged_file_says_what_it_looks_like(tmp_path: Path, damage: Any, flaw: str) -> None:
    src = write(tmp_path, "json", document(text=f"{TEXT} {SECRET}"))
    src.write_bytes(damage(src.read_bytes()))
    with pytest.raises(CorpusError) as caught:
        read(src)
    message = "".join(traceback.format_exception(caught.value))
    assert f"{src}: looks like a UIMA CAS as JSON, but {flaw}" in message
    assert SECRET not in message


def test_damaged_xmi_names_its_line(tmp_path: Path) -> None:
    src = write(tmp_path, "xmi", document())
    src.write_bytes(src.read_bytes()[:-30])
    with pytest.raises(
        CorpusError, match=r"note\.xmi: looks like a UIMA CAS as XMI, but line \d+ is"
    ):
        read(src)


def project(path: Path, states: dict[str, Any]) -> Path:
    """A project: two documents, two annotators, one document curated."""
    ann = {"one.txt": PLACES, "two.txt": PLACES[:1]}
    bob = {"one.txt": [PLACES[0], PLACES[1]], "two.txt": PLACES[:2]}
    text = {"one.txt": TEXT, "two.txt": f"{TEXT} Well."}
    with zipfile.ZipFile(path, "w") as archive:
        for user, documents in (("ann", ann), ("bob", bob), ("INITIAL_CAS", {"one.txt": []})):
            for name, places in documents.items():
                inner = BytesIO()
                xmi_archive(inner, document(places, text[name]), user)
                archive.writestr(f"annotation/{name}/{user}.zip", inner.getvalue())
        curated = document(PLACES[:1], TEXT).to_json()
        archive.writestr("curation/one.txt/CURATION_USER.json", curated)
        archive.writestr("source/one.txt", TEXT)
        archive.writestr("log/event.log", "{}")
        archive.writestr("exportedproject.json", json.dumps(states))
    return path


def test_a_project_of_several_annotators(tmp_path: Path) -> None:
    src = project(tmp_path / "project.zip", {})
    notes, report = read(src)
    assert [(note.id, note.annotator, len(note.mentions)) for note in notes] == [
        ("one.txt", "CURATION_USER", 1),
        ("two.txt", "ann", 1),
    ]
    assert report.annotators == {"ann": 2, "bob": 2}
    sign, detail = report.agreement["Sign"], report.agreement["Detail"]
    # Of ann's 2 + 1 and bob's 2 + 2 signs, 2 + 1 are the same.
    assert (sign.f1, sign.same, sign.different) == (pytest.approx(6 / 7), 3, 1)
    assert (detail.f1, detail.same, detail.different) == (0, 0, 1)
    notes, _ = read(src, annotator="bob")
    assert [(note.annotator, len(note.mentions)) for note in notes] == [
        ("CURATION_USER", 1),
        ("bob", 2),
    ]
    with pytest.raises(CorpusError, match=r"annotated by eve\. The annotators are: ann, bob"):
        read(src, annotator="eve")


def test_annotation_that_is_not_finished_is_skipped_and_counted(tmp_path: Path) -> None:
    states = {
        "annotation_documents": [
            {"name": "two.txt", "user": "ann", "state": "IN_PROGRESS"},
            {"name": "two.txt", "user": "bob", "state": "FINISHED"},
        ],
        "source_documents": [{"name": "one.txt", "state": "CURATION_IN_PROGRESS"}],
    }
    notes, report = read(project(tmp_path / "project.zip", states))
    assert [(note.id, note.annotator) for note in notes] == [("one.txt", "bob"), ("two.txt", "bob")]
    assert report.notes_skipped == {
        "annotation that is not finished (inprogress)": 1,
        "annotation that is not finished (curationinprogress)": 1,
        "annotation of another annotator of the same document": 1,
    }


def test_a_document_that_came_as_cas_keeps_the_id_of_its_note(tmp_path: Path) -> None:
    src = tmp_path / "project.zip"
    with zipfile.ZipFile(src, "w") as archive:
        for name, text in (("n1.xmi", TEXT), ("n2.JSON", f"{TEXT} Well.")):
            inner = BytesIO()
            xmi_archive(inner, document(text=text), "ann")
            archive.writestr(f"annotation/{name}/ann.zip", inner.getvalue())
        archive.writestr("exportedproject.json", "{}")
    notes, _ = read(src)
    assert [note.id for note in notes] == ["n1", "n2"]
