"""The pages of results are what the committed result files say."""

import re
import runpy
from pathlib import Path

import pytest
import srsly

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["results", "scale", "performance"])
def test_the_page_is_made_from_the_result_files(name):
    page = ROOT / "docs" / f"{name}.md"
    if name == "performance" and not (ROOT / "bench" / "results" / "cpu.json").exists():
        pytest.skip("no result file: `make bench` writes it")
    if not (ROOT / "experiments" / "results" / "bias.json.xz").exists():
        pytest.skip("not a clone")
    make = runpy.run_path(str(ROOT / "scripts" / f"{name}_page.py"))["page"]
    assert make() == page.read_text("utf-8")


def test_the_ten_rarest_types_are_the_same_everywhere():
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    recall = re.search(r"ten rarest types the mean recall is ([\d.]+) → ([\d.]+)", readme).groups()
    f = re.search(r"mean entity F1 ([\d.]+) → ([\d.]+), which was not tested", readme).groups()
    assert f"| mean | | {' | '.join(recall + f)} |" in page


def test_the_tutorials_have_the_figures_of_the_demo():
    demo = srsly.read_json(ROOT / "docs" / "results" / "demo.json")
    report = (ROOT / "docs" / "tutorials" / "report.md").read_text("utf-8")
    for name in ("ents_p", "ents_r", "ents_f", "ents_partial_f"):
        assert f"{100 * demo['scores'][name]['value']:.1f}" in report, name
    for end in ("low", "high"):
        assert f"{100 * demo['scores']['ents_f'][end]:.1f}" in report
    assert f"an F1 of {100 * demo['types']['Family_history']['ents_f']['value']:.0f}%" in report
    ece = f"{100 * demo['scores']['ents_ece']['value']:.1f} points"
    assert ece in report
    assert ece in (ROOT / "docs" / "tutorials" / "calibrator.md").read_text("utf-8")
    page = (ROOT / "docs" / "tutorials" / "operating_point.md").read_text("utf-8")
    points = [p for p in demo["curve"] if p["tau"] in (-0.5, 0.0, 0.2, 0.5, 1.0, 1.5)]
    for name in ("tag_uar", "tag_macro_f"):
        assert " | ".join(f"{100 * p[name]:.1f}" for p in points) in page, name
