import re

import pytest

from spacy_btl.experiments.bias_test.summary import plot_bias, summarize


def run(loss: str, seed: int, share: float, tv: float) -> dict:
    """A run in which one reading gives the majority a share."""
    return {
        "drawn": "90/10",
        "loss": loss,
        "seed": seed,
        "majority": "O",
        "chance": {"tv": (1 + seed) / 100, "kl": 0.0},
        "empirical": {"O": 0.9 + seed / 100, "T1": 0.1 - seed / 100},
        "readings": {"softmax": {"shares": {"O": share, "T1": 1 - share}, "tv": tv, "kl": tv}},
    }


RUNS = [run("ATL", 0, 0.92, 0.02), run("ATL", 1, 0.96, 0.05), run("focal", 0, 0.5, 0.4)]


def test_sums_up_over_the_seeds():
    atl, focal = summarize(RUNS)
    assert (atl["drawn"], atl["loss"], atl["reading"]) == ("90/10", "ATL", "softmax")
    assert atl["empirical"] == pytest.approx(0.905)
    assert atl["chance"] == pytest.approx(0.015)
    assert atl["share"] == pytest.approx({"mean": 0.94, "low": 0.92, "high": 0.96})
    assert atl["tv"] == pytest.approx({"mean": 0.035, "low": 0.02, "high": 0.05})
    assert focal["share"] == {"mean": 0.5, "low": 0.5, "high": 0.5}


def test_the_plot_is_a_picture_that_comes_out_the_same_again():
    pytest.importorskip("matplotlib")
    summary = summarize(RUNS)
    picture = plot_bias(summary)
    assert picture == plot_bias(summary)
    assert re.search(rb"<svg", picture)
    for text in (b"ATL", b"focal", b"90/10", b"softmax", b"in training"):
        assert b">" + text + b"</text>" in picture
