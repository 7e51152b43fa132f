"""What a note says of a mention, on the doc and in files."""

import pytest
import spacy
from spacy.tokens import Doc, DocBin, Span
from spacy.tokens.underscore import Underscore

from spacy_btl.context.assertions import (
    KINDS,
    Assertions,
    assertions,
    forget_assertions,
    install_extensions,
    set_assertions,
)
from spacy_btl.corpora.stats import corpus_stats
from spacy_btl.errors import BtlWarning
from spacy_btl.formats.convert import convert

NLP = spacy.blank("en")
TEXT = "Her mother had no cough and asthma ."
install_extensions()


@pytest.fixture
def doc() -> Doc:
    doc = NLP(TEXT)
    cough, asthma = Span(doc, 4, 5, "Sign"), Span(doc, 6, 7, "Disease")
    doc.set_ents([cough, asthma])
    set_assertions(cough, ["negated", "other"])
    set_assertions(asthma, ["historical"])
    return doc


def test_kinds_are_fields_and_back():
    assert Assertions.of(["historical", "other"]) == (False, False, True, False, "other")
    for kind in KINDS:
        assert Assertions.of([kind]).kinds == [kind]
    assert Assertions.of([]) == (False, False, False, False, "patient")


def test_attributes_say_what_holds_and_none_where_nothing_was_said(doc):
    cough, asthma = doc.ents
    assert (cough._.negated, cough._.historical, cough._.experiencer) == (True, False, "other")
    assert (asthma._.negated, asthma._.historical, asthma._.experiencer) == (False, True, "patient")
    assert assertions(Span(doc, 4, 5, "Other")) is None  # another type in its place
    assert doc[0:1]._.uncertain is None
    assert doc[0:1]._.experiencer is None
    forget_assertions(doc)
    assert not doc.user_data


def test_they_travel_with_the_doc(doc):
    data = DocBin(docs=[doc], store_user_data=True).to_bytes()
    (back,) = DocBin().from_bytes(data).get_docs(NLP.vocab)
    assert [assertions(ent) for ent in back.ents] == [assertions(ent) for ent in doc.ents]
    part = doc[3:8].as_doc(copy_user_data=True)
    assert [ent._.negated for ent in part.ents] == [True, False]
    assert [ent._.negated for ent in Doc.from_docs([doc, doc]).ents] == [True, False] * 2


def test_an_attribute_of_another_package_stays(doc, monkeypatch):
    monkeypatch.setitem(Underscore.span_extensions, "negated", ("theirs", None, None, None))
    with pytest.warns(BtlWarning, match=r"ent\._\.negated"):
        install_extensions()
    assert doc.ents[0]._.negated == "theirs"
    assert assertions(doc.ents[0]).negated is True


# In a corpus


def write_brat(folder, ann: str):
    folder.mkdir()
    (folder / "note.txt").write_text(TEXT)
    (folder / "note.ann").write_text(ann)
    return folder


ANN = "T1\tSign 18 23\tcough\nT2\tDisease 28 34\tasthma\n"


def gold(path) -> list[Assertions | None]:
    (doc,) = DocBin().from_disk(path).get_docs(NLP.vocab)
    assert [assertions(ent) for ent in doc.ents] == [
        assertions(span) for span in doc.spans["mentions"]
    ]
    return [assertions(ent) for ent in doc.ents]


def test_convert_keeps_them_and_what_has_none_is_annotated_too(tmp_path):
    out = tmp_path / "corpus.spacy"
    src = write_brat(tmp_path / "brat", f"{ANN}A1\tNegated T1\nA2\tFamily T1\n")
    report = convert(src, out)
    assert gold(out) == [Assertions.of(["negated", "other"]), Assertions()]
    assert report.assertions == {"negated": 1, "other": 1}
    assert corpus_stats(out).mentions == 2
    convert(out, tmp_path / "again.spacy")
    assert gold(tmp_path / "again.spacy") == gold(out)


def test_a_corpus_without_attributes_has_no_assertions(tmp_path):
    out = tmp_path / "corpus.spacy"
    report = convert(write_brat(tmp_path / "brat", ANN), out)
    assert gold(out) == [None, None]
    assert not report.assertions


def test_those_of_a_dropped_type_are_counted_and_not_kept(tmp_path):
    src = write_brat(tmp_path / "brat", f"{ANN}A1\tNegated T1\n")
    report = convert(src, tmp_path / "corpus.spacy", drop_types=["Sign"])
    assert report.assertions == {"negated": 1}
    assert gold(tmp_path / "corpus.spacy") == [Assertions()]
