"""Results of an experiment on disk."""

import pytest

from spacy_btl.errors import FileError
from spacy_btl.experiments.archive import read_cells
from spacy_btl.experiments.result_files import read_results, refuse_other_results, write_results
from spacy_btl.experiments.results import rarest_types

EARLY = {
    "title": "An experiment",
    "baseline": ["ATL", "arg-max"],
    "missing": [],
    "results": [],
}


def test_the_same_summary_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_results({**EARLY, "counts": []}, {"0-1/counts-2.npz": b"3"}, tmp_path / name)
    assert read_results(tmp_path / "a") == {**EARLY, "counts": []}
    assert read_cells(tmp_path / "a.tar.xz") == {"0-1": {"counts-2.npz": b"3"}}
    for suffix in ("tar.xz", "md", "html"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_results_without_counts_are_never_replaced(tmp_path):
    refuse_other_results(tmp_path / "e", [], [])  # there are none
    write_results(EARLY, {}, tmp_path / "e")
    with pytest.raises(FileError, match=r"e\.tar\.xz is not replaced: it has no counts"):
        refuse_other_results(tmp_path / "e", ["0-1/counts-2.npz"], [])


def test_damaged_results_are_a_clear_error(tmp_path):
    (tmp_path / "e.tar.xz").write_bytes(b"{}")
    for name in ("e", "gone"):
        with pytest.raises(FileError, match=rf"{name}\.tar\.xz: missing or damaged"):
            read_results(tmp_path / name)


def test_the_rarest_types_are_the_first():
    result = {"types": {label: {} for label in "BACD"}}
    assert rarest_types(result, 2) == ["B", "A"]
