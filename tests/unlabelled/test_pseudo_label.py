"""`btl pseudo-label`: which notes are drawn, what their soft labels are, and what learns them."""

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Corpus, Example
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import AnnotateError, PipelineError
from spacy_btl.mentions import read_mentions
from spacy_btl.pipeline.logits import hiding_pipes
from spacy_btl.pipeline.soft_labels import joined, targets_of
from spacy_btl.suggest.contents import Contents
from spacy_btl.unlabelled.pseudo_label import Options, draw, pseudo_label
from tests.annotate.conftest import write_notes
from tests.conftest import step
from tests.pipeline.test_overlapping import NOTES as GOLD
from tests.pipeline.test_overlapping import initialized, make_examples

NOTES = [
    ("a", "severe fever in chest"),
    ("b", "crp was 9 mg / l"),
    ("c", "no cough today\u2009."),
    ("d", "given aspirin"),
    ("e", "severe fever in chest"),  # a copy
]


@pytest.fixture(scope="module")
def teacher(calibrated_overlapping_path):
    """A calibrated pipeline whose types are decided one by one, on disk."""
    return calibrated_overlapping_path


@pytest.fixture(scope="module")
def labelled(teacher, tmp_path_factory):
    """What the command does to the notes, and the documents that it writes."""
    folder = tmp_path_factory.mktemp("labelled")
    notes = write_notes(folder / "notes.jsonl", NOTES)
    output = folder / "pseudo.spacy"
    return pseudo_label(str(teacher), notes, output), output


def test_soft_labels_are_the_probabilities_of_the_calibrator(labelled, teacher):
    done, output = labelled
    nlp = spacy.load(teacher)
    for name in hiding_pipes(nlp):
        nlp.disable_pipe(name)
    docs = read_docs(output, nlp.vocab)
    assert [doc.user_data["note_id"] for doc in docs] == ["a", "b", "c", "d"]
    assert (done.notes, done.drawn) == (5, 4)
    assert dict(+done.passed.reasons) == {"with the text of another": 1}
    scheme = nlp.get_pipe("ner").tag_scheme
    for doc in docs:
        expected = nlp(doc.text)
        p = expected._.token_probabilities
        soft = targets_of(Example(nlp.make_doc(doc.text), doc), scheme)
        of_types, starts, ends = np.split(soft, 3, axis=1)
        seen = np.array([not token.is_space for token in doc])
        for found, column in ((of_types, 1), (starts, 2), (ends, 3)):
            np.testing.assert_allclose(found[seen], p[seen, :, column], atol=1e-3)
            assert (found[~seen] == -1).all()
        spans = [(one.start, one.end, one.label_) for one in expected.spans["btl"]]
        assert sorted(read_mentions(doc, "mentions")) == sorted(spans)


def test_expected_mentions_are_counted_by_type(labelled, teacher):
    done, _ = labelled
    assert tuple(done.mentions) == spacy.load(teacher).get_pipe("ner").labels
    assert done.words == sum(len(text.split()) for _, text in NOTES[:4])
    assert max(done.mentions.values()) > 0.5


def test_a_student_learns_what_the_teacher_thinks(labelled, tiny_bert, teacher):
    """From soft labels alone: it never sees an annotated document."""
    _, output = labelled
    nlp = spacy.load(teacher)
    student = spacy.load(teacher, exclude=["knn_calibrator", "doc_cleaner"])
    examples = list(Corpus(output)(student))
    spacy.util.fix_random_seed(1)
    optimizer = student.initialize(lambda: make_examples(student))
    optimizer.learn_rate = 0.005
    scheme = student.get_pipe("ner").tag_scheme

    def distance():
        differences = []
        for example in examples:
            target = targets_of(example, scheme)
            logits = student(example.reference.text)._.token_logits
            p = 1 / (1 + np.exp(logits[:, :1] - logits[:, 1:]))
            differences.append(np.abs(p - target)[target[:, 0] >= 0].ravel())
        return np.concatenate(differences).mean()

    before = distance()
    for _ in range(60):
        step(student, examples, optimizer)
    assert distance() < before / 3
    assert nlp.get_pipe("ner").labels == student.get_pipe("ner").labels


def test_annotated_documents_learn_their_annotation_beside_others(labelled, teacher):
    _, output = labelled
    nlp = initialized()
    scheme = nlp.get_pipe("ner").tag_scheme
    gold = make_examples(nlp)
    hard = [targets_of(example, scheme) for example in gold]
    soft = [targets_of(example, scheme) for example in Corpus(output)(nlp)]
    together = joined([*hard, *soft], scheme)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together[: sum(map(len, hard))], np.concatenate(hard))
    np.testing.assert_array_equal(together[sum(map(len, hard)) :], np.concatenate(soft))
    assert joined(hard, scheme).dtype.kind == "i"


def test_soft_labels_that_do_not_fit_are_refused(labelled, teacher):
    _, output = labelled
    student = spacy.load(teacher, exclude=["knn_calibrator", "doc_cleaner"])
    scheme = student.get_pipe("ner").tag_scheme
    example = next(iter(Corpus(output)(student)))
    flat = spacy.blank("en").add_pipe("btl_ner")
    with pytest.raises(PipelineError, match="give the pipe a spans_key"):
        targets_of(example, flat.tag_scheme)
    few = initialized(examples=make_examples(spacy.blank("en"), GOLD[1:2]))
    with pytest.raises(PipelineError, match="other types"):
        targets_of(example, few.get_pipe("ner").tag_scheme)
    other = Example(Doc(student.vocab, list(example.reference.text)), example.reference)
    with pytest.raises(PipelineError, match="same tokenizer") as error:
        targets_of(other, scheme)
    assert "fever" not in str(error.value)


def contents(words, *mentions):
    rest = np.array(mentions, dtype=float)
    none = np.zeros((0, 1))
    return Contents(words, rest, 0, 0, none, none, none[:, 0], rest)


def test_notes_are_drawn_by_their_expected_mentions_of_rare_types():
    """One of two notes, of which one has three times the weight of the other: three times in
    four."""
    counts = np.array([99.0, 9.0])  # annotated mentions; an expected one weighs 0.01 or 0.1
    stream = [("common", contents(10, 10, 0.5)), ("rare", contents(10, 5, 4.0))]
    n = 4000
    drawn = [draw(stream, counts, 10, seed)[0].doc for seed in range(n)]
    assert drawn.count("rare") / n == pytest.approx(0.75, abs=0.02)


def test_words_are_bounded_and_the_draw_follows_the_seed():
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 50, 300)
    stream = [(i, contents(int(length), rng.random())) for i, length in enumerate(lengths)]
    first, again, other = (draw(stream, np.zeros(1), 1000, seed) for seed in (0, 0, 1))
    numbers = [one.doc for one in first]
    assert numbers == sorted(numbers) == [one.doc for one in again]
    assert numbers != [one.doc for one in other]
    assert 1000 <= sum(one.contents.words for one in first) < 1050
    assert len(draw(stream, np.zeros(1), 10**6, 0)) == 300


def test_annotated_notes_and_copies_of_them_are_left_out(teacher, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", NOTES)
    known = write_notes(tmp_path / "known.jsonl", [("d", "anything")])
    docs = [spacy.blank("en")("crp was 9 mg / l")]
    write_docs(tmp_path / "test.spacy", docs)
    options = Options(annotated=[known, tmp_path / "test.spacy"])
    done = pseudo_label(str(teacher), notes, tmp_path / "out.spacy", options)
    assert done.drawn == 2
    assert done.passed.reasons["annotated already"] == 2
    with pytest.raises(AnnotateError, match="no note is left to label"):
        pseudo_label(str(teacher), known, tmp_path / "none.spacy", options)
    assert not Path(tmp_path / "none.spacy").exists()


def test_a_pipeline_without_soft_decisions_is_refused(calibrated_path, overlapping_path, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", NOTES)
    for model in (calibrated_path, overlapping_path):
        with pytest.raises(PipelineError, match="Train with spans_key, and calibrate"):
            pseudo_label(str(model), notes, tmp_path / "out.spacy")


def test_the_command_says_what_it_did(teacher, tmp_path):
    notes = write_notes(tmp_path / "notes.jsonl", NOTES)
    arguments = ["pseudo-label", teacher, notes, tmp_path / "out.spacy", "--words", 8]
    done = CliRunner().invoke(btl, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    assert "5 notes" in done.output
    assert "Expected mentions" in done.output
    assert len(read_docs(tmp_path / "out.spacy", spacy.blank("en").vocab)) < 4
    again = CliRunner().invoke(btl, list(map(str, arguments)))
    assert again.exit_code == 1
    assert "--force" in again.output
