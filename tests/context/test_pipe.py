"""What `btl_context` writes, and that it leaves the doc as it was."""

import subprocess
import sys

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Span

from spacy_btl.context.assertions import Assertions, assertions
from spacy_btl.context.pipe import find_contexts
from spacy_btl.context.terms import english_assertion_terms
from spacy_btl.errors import PipelineError

pytest.importorskip("negspacy", reason="pip install '.[context]' to test it")

FINDINGS = ("fever", "cough", "asthma", "pneumonia", "epilepsy", "MRI", "aspirin")


def pipeline(**config) -> Language:
    nlp = spacy.blank("en")
    patterns = [{"label": "Finding", "pattern": word} for word in FINDINGS]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    nlp.add_pipe("btl_context", config=config)
    return nlp


NLP = pipeline()


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("He has fever.", []),
        ("No fever.", ["negated"]),
        ("She denies any fever", ["negated"]),
        ("aspirin was withheld", ["negated"]),
        ("neither cough nor fever is seen", ["negated"]),
        ("pain-free on aspirin", []),
        ("The fever cannot be excluded", ["uncertain"]),
        ("Probable pneumonia", ["uncertain"]),
        ("?pneumonia", ["uncertain"]),
        ("pneumonia until proven otherwise", ["uncertain"]),
        ("history of asthma", ["historical"]),
        ("asthma as a child", ["historical"]),
        ("pneumonia in 2014", ["historical"]),
        ("a 3-week history of cough", []),
        ("return if fever", ["hypothetical"]),
        ("MRI is booked", ["hypothetical"]),
        ("His mother had epilepsy", ["other"]),
        ("no family history of epilepsy", ["negated", "other"]),
        ("His mother noticed fever", []),
        ("no previous pneumonia", ["negated", "historical"]),
    ],
)
def test_a_term_acts_on_its_mention(text, kinds):
    doc = NLP(text)
    assert {assertions(ent) for ent in doc.ents} == {Assertions.of(kinds)}


# The second line is full, so that its sentence goes on.
WRAPPED = (
    "The patient was seen on the ward by the team of the day, and there was\n"
    "on listening again, over both of the lungs, in front and at the back, no\n"
    "fever and no rub\n"
    "cough"
)


@pytest.mark.parametrize(
    ("text", "negated"),
    [
        ("No fever. Cough", [True]),
        ("No fever but cough.", [True, False]),
        ("No fever; cough", [True, False]),
        ("- no fever\n- cough", [True, False]),
        ("no fever\n\ncough", [True, False]),
        (WRAPPED, [True, False]),
    ],
)
def test_it_ends_at_the_sentence_the_line_and_the_break(text, negated):
    assert [ent._.negated for ent in NLP(text).ents] == negated


def test_overlapping_mentions_of_a_group_are_judged_each():
    nlp = pipeline(spans_keys=["all"])
    doc = nlp.make_doc("no cough and fever but asthma")
    doc.spans["all"] = [
        Span(doc, 1, 2, "Finding"),
        Span(doc, 1, 4, "Group"),
        Span(doc, 5, 6, "Finding"),
    ]
    nlp.get_pipe("btl_context")(doc)
    assert [span._.negated for span in doc.spans["all"]] == [True, True, False]
    assert doc.ents == ()


def test_only_the_types_that_are_asked_for_have_values():
    (ent,) = pipeline(types=["Sign"])("No fever").ents
    assert ent._.negated is None
    assert ent._.experiencer is None


def test_nothing_else_is_left_on_the_doc():
    doc = NLP("No fever. Cough of her mother")
    assert not doc.has_annotation("SENT_START")
    assert not doc.spans
    assert {key[1] for key in doc.user_data} == {"btl_assertions:Finding"}


def test_a_second_pass_replaces_the_first():
    doc = NLP("No fever")
    doc.set_ents([Span(doc, 0, 2, "Phrase")])
    NLP.get_pipe("btl_context")(doc)
    assert len(doc.user_data) == 1
    assert doc.ents[0]._.negated is False  # "no" is inside of the mention


def test_terms_of_your_own():
    empty = ("pseudo_negations", "following_negations", "termination")
    lists = {"preceding_negations": ["kein"], **{name: [] for name in empty}}
    (ent,) = pipeline(terms={"negated": lists})("kein fever").ents
    assert assertions(ent) == Assertions(negated=True)
    for wrong in ({"absent": lists}, {"negated": {"preceding_negations": ["kein"]}}):
        with pytest.raises(PipelineError, match="termination"):
            pipeline(terms=wrong)


def test_the_terms_are_lower_case_and_none_is_there_twice():
    for kind, lists in english_assertion_terms().items():
        for name, terms in lists.items():
            assert [term for term in terms if term != term.lower()] == [], (kind, name)
        if kind != "negated":  # negspacy's own hold some twice
            assert all(len(terms) == len(set(terms)) for terms in lists.values()), kind


def test_it_is_saved_and_loaded(tmp_path):
    NLP.to_disk(tmp_path)
    again = spacy.load(tmp_path)
    assert len(find_contexts(again)) == 1
    assert again("No fever").ents[0]._.negated is True


LOADED = """
import sys
import spacy
nlp = spacy.load(sys.argv[1])
print([doc.ents[0]._.negated for doc in nlp.pipe(["No fever", "His cough"], n_process=2)])
"""


@pytest.mark.slow
def test_it_is_loaded_by_name_in_a_fresh_process_and_works_in_several(tmp_path):
    NLP.to_disk(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[True, False]"


def test_without_negspacy_it_says_what_to_install(tmp_path, monkeypatch):
    NLP.to_disk(tmp_path)
    for name in ("negspacy", "negspacy.termsets", "negspacy.negation"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PipelineError, match=r"\[context\]"):
        spacy.load(tmp_path)
