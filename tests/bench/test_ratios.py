"""Ratios are of sides that run in turn, and their file keeps what is not measured again."""

import importlib
import json
from pathlib import Path

import pytest

from bench.ratios import (
    LIMITS,
    Ratio,
    figures,
    in_turn,
    pairwise,
    read_rows,
    row,
    save_row,
    save_table,
)

MODULES = sorted(path.stem for path in Path("bench").glob("*.py") if path.stem != "__main__")
SETTING = {"machine": {"cores": 2}, "versions": {"torch": "1"}, "threads": 2}


def test_sides_run_in_turn_and_the_first_run_does_not_count():
    order = []
    sides = {"ours": lambda: order.append("ours"), "theirs": lambda: order.append("theirs")}
    taken = in_turn(sides, repeats=2)
    assert order == ["ours", "theirs"] * 3
    assert {name: len(seconds) for name, seconds in taken.items()} == {"ours": 2, "theirs": 2}


def test_a_slow_minute_of_the_machine_leaves_the_ratio_as_it_is():
    assert pairwise([2.0, 20.0], [1.0, 10.0]) == [2.0, 2.0]


def test_the_value_is_the_median_and_the_spread_the_quartiles():
    found = row("train_fused_over_atl", Ratio([1.0, 1.3, 1.02, 1.01, 1.04], "made up"))
    assert (found["value"], found["low"], found["high"]) == (1.02, 1.01, 1.04)
    assert (found["sign"], found["limit"], found["met"]) == ("<=", 1.03, True)


def test_a_single_pair_has_no_spread():
    found = row("memory_growth", Ratio([1.1], "made up"))
    assert (found["value"], found["low"], found["high"]) == (1.1, 1.1, 1.1)
    assert found["met"] is False


def test_a_speed_has_to_reach_its_limit():
    assert row("pipe_vs_hf", Ratio([2.5], "made up"))["met"] is True
    assert row("pipe_vs_hf", Ratio([1.5], "made up"))["met"] is False


def test_what_is_only_reported_has_no_limit():
    found = row("train_sequential_over_fused", Ratio([24.0], "made up"))
    assert (found["limit"], found["met"]) == (None, None)


def test_absolute_figures_are_those_of_the_median():
    assert figures([0.1, 0.5, 0.2], words=100) == {"ms": 200, "words_per_second": 500}


def test_a_new_row_takes_the_place_of_the_old_one_and_leaves_the_others(tmp_path):
    path = tmp_path / "results" / "cpu.json"
    for name, value in (("long_note", 1.0), ("pipe_vs_hf", 3.0), ("long_note", 1.1)):
        save_row(path, SETTING, row(name, Ratio([value], "made up")))
    save_table(path, SETTING, "search_scaling", [{"rows": 10}])
    content = json.loads(path.read_text("utf-8"))
    assert [(row["name"], row["value"]) for row in content["ratios"]] == [
        ("pipe_vs_hf", 3.0),
        ("long_note", 1.1),
    ]
    assert content["search_scaling"] == [{"rows": 10}]
    assert {key: content[key] for key in SETTING} == SETTING


def test_rows_of_another_machine_are_not_mixed(tmp_path):
    path = tmp_path / "cpu.json"
    save_row(path, SETTING, row("long_note", Ratio([1.0], "made up")))
    with pytest.raises(ValueError, match="another threads"):
        read_rows(path, {**SETTING, "threads": 16})


def test_every_ratio_can_be_measured():
    from bench import inference, memory, parts, processes, training

    modules = (training, inference, parts, memory, processes)
    assert {name for module in modules for name in module.RATIOS} == set(LIMITS)


def test_a_library_that_came_later_is_no_other_setting(tmp_path):
    path = tmp_path / "cpu.json"
    versions = {"torch": "1", "edsnlp": "2"}
    save_row(path, SETTING, row("long_note", Ratio([1.0], "made up")))
    save_row(path, {**SETTING, "versions": versions}, row("pipe_vs_edsnlp", Ratio([2.0], "")))
    save_row(path, SETTING, row("long_note", Ratio([1.2], "made up")))
    content = json.loads(path.read_text("utf-8"))
    assert content["versions"] == versions
    assert len(content["ratios"]) == 2


@pytest.mark.parametrize("name", MODULES)
def test_every_measurement_finds_what_it_imports(name):
    """They are too long to run with the tests, and what they measure is renamed at times."""
    try:
        importlib.import_module(f"bench.{name}")
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] in {"spacy_btl", "bench", "tests"}:
            raise
        pytest.skip(f"{error.name} is not installed")
