"""The pages of results, the README and the tutorials have the figures of the committed files."""

import re
import runpy
from pathlib import Path

import pytest
import srsly
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
TUTORIALS = DOCS / "tutorials"
IN_A_CLONE = pytest.mark.skipif(
    not (ROOT / "experiments" / "results" / "bias.json.xz").exists(), reason="not a clone"
)


@IN_A_CLONE
@pytest.mark.parametrize("name", ["results", "technical_report"])
def test_a_page_of_results_is_made_from_the_result_files(name):
    page = runpy.run_path(str(ROOT / "scripts" / "results_page.py"))["page"]
    assert page(name) == (DOCS / f"{name}.md").read_text("utf-8")


@IN_A_CLONE
@pytest.mark.parametrize("name", ["scale", "performance", "assertions", "project"])
def test_the_page_is_made_from_its_files(name):
    pages = runpy.run_path(str(ROOT / "scripts" / "pages.py"))["PAGES"]
    assert pages[name]() == (DOCS / f"{name}.md").read_text("utf-8")


@IN_A_CLONE
def test_the_page_of_what_to_annotate_is_made_from_the_replays():
    script = runpy.run_path(str(ROOT / "scripts" / "replay_page.py"))
    assert script["page"]() == (DOCS / "suggest.md").read_text("utf-8")


@IN_A_CLONE
def test_the_page_of_promises_is_made_from_the_draws():
    script = runpy.run_path(str(ROOT / "scripts" / "guarantee_page.py"))
    assert script["page"]() == (DOCS / "guarantee.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["results", "technical_report"])
def test_the_prose_of_a_page_of_results_is_in_short_lines(name):
    for line in (DOCS / f"{name}.md").read_text("utf-8").splitlines():
        assert len(line) <= 120 or line.lstrip().startswith(("|", "<!--", "![")), line


def test_the_page_of_results_begins_with_one_table_and_ends_with_one_for_each_corpus():
    page = (DOCS / "results.md").read_text("utf-8")
    parts = (page.split("\n## All")[0], page.split("\n## Overlapping")[1])
    assert [len(re.findall(r"^\| ---", part, re.MULTILINE)) for part in parts] == [1, 2]
    assert page.count("\n## ") <= 8


def test_the_report_of_a_conversion_is_that_of_the_demo_notes(tmp_path):
    command = ["btl", "convert", str(ROOT / "assets" / "demo"), str(tmp_path / "all.spacy")]
    output = CliRunner().invoke(app, command).output
    shown = {" ".join(line.split()) for line in output.splitlines()}
    page = (TUTORIALS / "brat.md").read_text("utf-8")
    for line in re.search(r"```text\n(.*?)```", page, re.DOTALL)[1].splitlines():
        assert line.strip() == "..." or " ".join(line.split()) in shown, line


IN_BOTH_WAYS = {
    "F1 of all mentions": "spans_btl_f",
    "the same, mean of the types": "spans_btl_macro_f",
    "recall of the mentions that one label per token has no room for": "spans_btl_r_lost",
    "F1 of `doc.ents`": "ents_f",
    "ECE of the confidence of mentions": "spans_btl_ece",
}
DEMO, DEMO_FLAT = (
    srsly.read_json(DOCS / "results" / name) for name in ("demo.json", "demo_flat.json")
)


@pytest.fixture(scope="module")
def demo() -> dict:
    """What `evaluate` says about the demo notes with one label per token."""
    return DEMO_FLAT["metrics"]


@pytest.fixture(scope="module")
def examples() -> dict:
    """What that pipeline says about the documents of the tutorials."""
    return DEMO_FLAT["examples"]


def test_the_report_page_has_the_figures_of_the_demo(demo):
    report = (TUTORIALS / "report.md").read_text("utf-8")
    for name in ("ents_p", "ents_r", "ents_f", "ents_partial_f"):
        assert f"{100 * demo['scores'][name]['value']:.1f}" in report, name
    for end in ("low", "high"):
        assert f"{100 * demo['scores']['ents_f'][end]:.1f}" in report
    family = demo["types"]["Family_history"]
    assert (
        f"`Family_history` has {family['support']}, an F1 of {100 * family['ents_f']['value']:.0f}%"
        in report
    )
    assert f"({demo['documents']} documents, {demo['mentions']:,} mentions)" in report
    assert f"{100 * demo['scores']['ents_ece']['value']:.1f} points" in report


def test_the_calibrator_page_has_the_figures_of_demo_and_experiments(demo, examples):
    page = (TUTORIALS / "calibrator.md").read_text("utf-8")
    assert f"{100 * demo['scores']['ents_ece']['value']:.1f} points" in page
    assert f"{examples['dev_documents']} notes with {examples['dev_mentions']} mentions" in page
    readme = (ROOT / "README.md").read_text("utf-8")
    for title, text in (
        ("standard fine-tuning, argmax", "is {} points off its precision"),
        (r"\*\*default pipeline", "{} points off there, for one calibrator"),
    ):
        error = re.search(rf"^\| {title}.*\| ([\d.]+) \|$", readme, re.MULTILINE)[1]
        assert text.format(error) in page


def test_the_operating_point_page_has_the_figures_of_the_demo(demo, examples):
    page = (TUTORIALS / "operating_point.md").read_text("utf-8")
    points = [p for p in demo["curve"] if p["tau"] in (-0.5, 0.0, 0.2, 0.5, 1.0, 1.5)]
    for name in ("tag_uar", "tag_macro_f"):
        assert " | ".join(f"{100 * p[name]:.1f}" for p in points) in page, name
    lines = [
        f"{minimum:.2f}  {kept:4}  {precision:.0%}  {recall:.0%}"
        for minimum, kept, precision, recall in examples["minimum_confidence"]
    ]
    assert "```text\n" + "\n".join(lines) + "\n```\n" in page


def test_the_page_of_overlapping_mentions_compares_the_demo_in_both_ways():
    page = (DOCS / "overlapping.md").read_text("utf-8")
    both = [DEMO_FLAT["metrics"]["scores"], DEMO["metrics"]["scores"]]
    assert DEMO["metrics"]["corpus"] == DEMO_FLAT["metrics"]["corpus"] | {
        "file": DEMO["metrics"]["corpus"]["file"]
    }
    for title, name in IN_BOTH_WAYS.items():
        cells = " | ".join(
            f"{100 * one[name]['value']:.1f} ({100 * one[name]['low']:.1f} to "
            f"{100 * one[name]['high']:.1f})"
            for one in both
        )
        assert f"| {title} | {cells} |" in page, title


# The README's table and claim are what the result files say, and it is short.

README = (ROOT / "README.md").read_text("utf-8")


@IN_A_CLONE
def test_the_readme_has_the_results_of_the_result_files():
    with_results = runpy.run_path(str(ROOT / "scripts" / "results_table.py"))["with_results"]
    assert with_results(README) == README


@IN_A_CLONE
def test_the_readme_has_the_figures_of_the_page_of_results():
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    for title in ("standard fine-tuning", r"\*\*default pipeline\*\*"):
        row = next(line for line in README.splitlines() if re.match(rf"\| {title}", line))
        on_page = next(line for line in page.splitlines() if re.match(rf"\| {title}", line))
        *scores, error = re.findall(r"\d+\.\d", row)
        assert [error] == re.findall(r"\d+\.\d", on_page)[-1:]
        assert set(scores) <= set(re.findall(r"\d+\.\d", on_page))


def test_the_readme_has_the_output_of_the_demo_pipeline():
    examples = DEMO["examples"]
    assert f'nlp("{examples["text"]}")' in README
    lines = [
        f"{text:10} {label:22} {confidence:.2f}" for text, label, confidence in examples["entities"]
    ]
    assert "```text\n" + "\n".join(lines) + "\n```\n" in README


def test_the_readme_is_short_and_has_few_rows():
    assert len(README.splitlines()) <= 130
    rows = README.split("<!-- results -->")[1].split("<!-- /results -->")[0].splitlines()
    assert len([line for line in rows if line.startswith("|")]) <= 2 + 6


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target
