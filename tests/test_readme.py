"""The README's table and claim are what the result files say, and it is short."""

import re
import runpy
from pathlib import Path

import pytest
import srsly

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
IN_A_CLONE = pytest.mark.skipif(
    not (ROOT / "experiments" / "results" / "bias.json.xz").exists(), reason="not a clone"
)


@IN_A_CLONE
def test_the_results_are_those_of_the_result_files():
    with_results = runpy.run_path(str(ROOT / "scripts" / "results_table.py"))["with_results"]
    assert with_results(README) == README


@IN_A_CLONE
def test_the_figures_are_those_of_the_page_of_results():
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    for title in ("standard fine-tuning", r"\*\*default pipeline\*\*"):
        row = next(line for line in README.splitlines() if re.match(rf"\| {title}", line))
        on_page = next(line for line in page.splitlines() if re.match(rf"\| {title}", line))
        *scores, error = re.findall(r"\d+\.\d", row)
        assert [error] == re.findall(r"\d+\.\d", on_page)[-1:]
        assert set(scores) <= set(re.findall(r"\d+\.\d", on_page))


def test_the_output_is_that_of_the_demo_pipeline():
    demo = srsly.read_json(ROOT / "docs" / "results" / "demo_examples.json")
    assert f'nlp("{demo["text"]}")' in README
    lines = [
        f"{text:10} {label:22} {confidence:.2f}" for text, label, confidence in demo["entities"]
    ]
    assert "```text\n" + "\n".join(lines) + "\n```\n" in README


def test_it_is_short_and_has_few_rows():
    assert len(README.splitlines()) <= 130
    rows = README.split("<!-- results -->")[1].split("<!-- /results -->")[0].splitlines()
    assert len([line for line in rows if line.startswith("|")]) <= 2 + 6


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
