import pytest
import spacy
from spacy import registry
from spacy.training import Example, biluo_tags_to_spans, iob_to_biluo
from spacy.util import fix_random_seed, minibatch

from spacy_btl.losses.binary_copies import binary_copies

NLP = spacy.blank("en")
NOTES = [
    ("severe fever and cough", ["B-Severity", "B-Sign", "O", "B-Sign"]),
    ("crp was 84 mg", ["B-Test", "O", "B-Value", "I-Value"]),
    ("given aspirin daily", ["O", "O", "O"]),
]


def examples(notes=NOTES):
    made = []
    for text, tags in notes:
        reference = NLP.make_doc(text)
        annotated = iob_to_biluo(["O" if tag == "-" else tag for tag in tags])
        reference.set_ents(
            biluo_tags_to_spans(reference, annotated),
            missing=[reference[i : i + 1] for i, tag in enumerate(tags) if tag == "-"],
            default="outside",
        )
        made.append(Example(NLP.make_doc(text), reference))
    return made


def in_threes(stream):
    return minibatch(stream, 3)


def iob(example):
    return [f"{token.ent_iob_}-{token.ent_type_}".strip("-") for token in example.reference]


def types(batch):
    return {ent.label_ for example in batch for ent in example.reference.ents}


def test_each_batch_comes_once_per_type_in_it():
    fever, crp, aspirin = NOTES
    copies = list(binary_copies(in_threes)(examples([fever, crp, aspirin, fever, fever, aspirin])))
    assert all(len(batch) == 3 for batch in copies)
    assert [len(types(batch)) for batch in copies] == [1] * 6
    first, second = copies[:4], copies[4:]
    assert set.union(*map(types, first)) == {"Severity", "Sign", "Test", "Value"}
    assert set.union(*map(types, second)) == {"Severity", "Sign"}


@pytest.mark.parametrize(
    ("non_target", "other"),
    [("outside", ["O", "O", "O", "O"]), ("ignore", ["", "O", "", ""])],
)
def test_the_other_types_become_outside_or_missing(non_target, other):
    for batch in binary_copies(in_threes, non_target)(examples()):
        (label,) = types(batch)
        assert iob(batch[2]) == ["O", "O", "O"]
        if label == "Sign":
            severe = other[0]
            assert iob(batch[0]) == [severe, "B-Sign", "O", "B-Sign"]
            assert iob(batch[1]) == other
        if label == "Value":
            assert iob(batch[1]) == [other[0], "O", "B-Value", "I-Value"]


@pytest.mark.parametrize("non_target", ["outside", "ignore"])
def test_missing_annotation_stays_missing(non_target):
    notes = [("severe fever and cough", ["-", "B-Sign", "O", "-"])]
    (batch,) = binary_copies(in_threes, non_target)(examples(notes))
    assert iob(batch[0]) == ["", "B-Sign", "O", ""]


def test_a_batch_without_entities_comes_once_as_it_is():
    (batch,) = binary_copies(in_threes)(examples([NOTES[2], ("", []), NOTES[2]]))
    assert [iob(example) for example in batch] == [["O", "O", "O"], [], ["O", "O", "O"]]


def order(seed):
    fix_random_seed(seed)
    return [sorted(types(batch)) for batch in binary_copies(in_threes)(examples())]


def test_the_seed_draws_the_order():
    assert order(1) == order(1)
    assert len({str(order(seed)) for seed in range(10)}) > 1
    assert sorted(order(1)) == sorted(order(2))


def test_the_originals_are_untouched_and_the_predicted_docs_are_shared():
    originals = examples()
    before = [example.reference.to_bytes() for example in originals]
    for batch in binary_copies(in_threes, "ignore")(originals):
        for copy, original in zip(batch, originals, strict=True):
            assert copy.predicted is original.predicted
            assert copy.reference is not original.reference
    assert [example.reference.to_bytes() for example in originals] == before


def test_it_serves_spacys_own_ner_from_a_config():
    config = {
        "batcher": {
            "@batchers": "spacy_btl.BinaryCopies.v1",
            "non_target": "ignore",
            "batcher": {"@batchers": "spacy.batch_by_sequence.v1", "size": 100},
        }
    }
    batcher = registry.resolve(config)["batcher"]
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    optimizer = nlp.initialize(examples)
    losses = [nlp.update(batch, sgd=optimizer)["ner"] for batch in batcher(examples())]
    assert len(losses) == 4
    assert all(loss > 0 for loss in losses)
