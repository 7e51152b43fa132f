"""What is counted for each document, against matchings of scipy and pipelines that were run."""

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from spacy.training import Example

from spacy_btl.guarantee.tally import MATCHED, losses, pooled, tally
from spacy_btl.metrics.matching import count_overlaps, partial_credit
from tests.calibration.test_fit import HELD_OUT, make


def disjoint(rng, most):
    borders = np.sort(rng.choice(60, size=2 * rng.integers(0, most), replace=False))
    return [tuple(pair) for pair in borders.reshape(-1, 2).tolist()]


def test_no_matching_has_more_overlapping_pairs():
    rng = np.random.default_rng(0)
    for _ in range(300):
        gold = disjoint(rng, 8) + disjoint(rng, 4)  # which overlap each other
        predicted = disjoint(rng, 9)
        pairs = np.array([[g[0] < p[1] and p[0] < g[1] for p in predicted] for g in gold])
        most = 0
        if pairs.size:
            most = (maximum_bipartite_matching(csr_array(pairs.astype(int))) >= 0).sum()
        assert count_overlaps(gold, predicted) == most


def test_one_long_mention_finds_one():
    assert count_overlaps([(0, 2), (3, 5), (6, 8)], [(0, 8)]) == 1
    assert count_overlaps([(0, 8)], [(0, 2), (3, 5)]) == 1
    assert partial_credit([(0, 2)], [(1, 3)]) == 0.5
    assert count_overlaps([(0, 2)], [(1, 3)]) == 1
    assert count_overlaps([(0, 2)], [(2, 4)]) == 0


def test_losses_are_shares_of_the_documents_that_have_any():
    counts = np.array([[1, 2, 1], [0, 0, 2], [3, 3, 4], [0, 0, 0], [0, 1, 0]])
    assert losses(counts, "recall").tolist() == [0.5, 0.0, 1.0]
    assert losses(counts, "precision").tolist() == [0.0, 1.0, 0.25]
    assert pooled(counts) == (4 / 6, 4 / 7)
    assert np.isnan(pooled(counts[3:4])).all()


@pytest.mark.parametrize("match", ["strict", "overlap"])
def test_counts_are_those_of_the_pipeline_that_was_run(trained_path: Path, match):
    nlp = make(trained_path, fit_maps=False)
    pipe = nlp.get_pipe("knn_calibrator")
    examples = [
        Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in HELD_OUT
    ]
    held_out = pipe.read_held_out(examples)
    p = pipe.calibrator.predict_proba(held_out.logits)
    runs = pipe.calibrator.find_entities(p, held_out.words).runs
    types = pipe.calibrator.datastore.tag_scheme.types
    together = np.array([0, 1, 0, 2])  # the first and the third count as one
    counts = tally(held_out, runs, range(len(types)), together, match)
    expected = np.zeros_like(counts)
    for number, (text, entities) in enumerate(HELD_OUT):
        doc = nlp(text)
        for column, label in enumerate(types):
            gold = [(start, end) for start, end, kind in entities if kind == label]
            found = [(e.start_char, e.end_char) for e in doc.ents if e.label_ == label]
            both = len(set(gold) & set(found))
            if match == "overlap":
                both = count_overlaps(gold, found)
            expected[together[number], column] += both, len(gold), len(found)
    assert np.array_equal(counts, expected)
    assert counts[..., MATCHED].any()


def test_annotation_that_is_missing_is_not_counted(trained_path):
    nlp = make(trained_path, fit_maps=False)
    pipe = nlp.get_pipe("knn_calibrator")
    reference = nlp.make_doc("pain in the left arm , no fever")
    reference.set_ents([], missing=[reference[0:8]])
    held_out = pipe.read_held_out([Example(nlp.make_doc(reference.text), reference)])
    p = pipe.calibrator.predict_proba(held_out.logits)
    runs = pipe.calibrator.find_entities(p, held_out.words).runs
    assert len(runs.first)
    assert not tally(held_out, runs, [0, 1, 2], np.array([0]), "overlap").any()
