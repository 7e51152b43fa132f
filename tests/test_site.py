"""The documentation's site: whole, self-contained, and without a warning."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from spacy_btl.cli import btl

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, as `make docs` builds it."""
    pytest.importorskip("mkdocstrings", reason="needs the docs extra: make docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_registered_name_and_command_is_on_a_page():
    reference = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
    pages = reference["pages"]()
    text = "\n".join(pages.values())
    for group, entries in reference["entry_points"]().items():
        if group != "spacy_cli":
            for name, target in entries.items():
                assert f"# `{name}`\n" in text
                assert f"::: {target}\n" in text
    commands = typer.main.get_command(btl).commands
    assert len(commands) >= 10
    for name, command in commands.items():
        section = pages["reference/cli.md"].split(f"## `btl {name}`\n")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                assert option in section


def test_a_docstring_in_spacys_style_is_divided_into_its_fields():
    pytest.importorskip("griffe", reason="needs the docs extra: make docs")
    sections = runpy.run_path(str(ROOT / "scripts" / "docstrings.py"))["sections"]
    docstring = (
        "Do it.\n\nTwice. RAISES: As `it`.\n\n"
        "a, b (Dict[str, int]): Both of\n    them.\nRETURNS (float32 [T, C]): One (1).\n"
        "RAISES: CorpusError, for this; BtlError, for that.\n\n"
        ">>> it(1)  # doctest: +SKIP\n1\n"
    )
    text, parameters, returns, raises, examples = sections(docstring, "parameters")
    ((_, code),) = examples.value
    assert code.strip() == ">>> it(1)\n1"
    assert text.value.strip() == "Do it.\n\nTwice."
    (parameter,) = parameters.value
    assert (parameter.name, parameter.annotation) == ("a, b", "Dict[str, int]")
    assert parameter.description == "Both of them."
    assert returns.value[0].annotation == "float32 [T, C]"
    assert returns.value[0].description == "One (1)."
    errors = [(error.annotation, error.description) for error in raises.value]
    assert errors == [("", "As `it`."), ("CorpusError", "For this"), ("BtlError", "For that.")]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nothing_of_the_network(site):
    for page in site.rglob("*.html"):
        html = page.read_text("utf-8")
        assert str(ROOT) not in html
        for loads in ('src="http', 'src="//', "@import", 'rel="stylesheet" href="http'):
            assert loads not in html, page
        assert 'class="arithmatex"' not in html  # formulas are MathML already
    assert "<math" in (site / "method.html").read_text("utf-8")


@pytest.mark.slow
def test_settings_and_methods_of_the_pipes_are_shown(site):
    calibrator = (site / "reference" / "knn_calibrator.html").read_text("utf-8")
    for name in ("n_neighbors", "transition_weight", "explain", "fit_maps", "CalibratorError"):
        assert name in calibrator
    assert "RETURNS" not in calibrator
    assert "sqrt_odds" in (site / "reference" / "losses.html").read_text("utf-8")


def test_pypi_shows_the_readme_without_links_into_the_repository():
    shown = runpy.run_path(str(ROOT / "setup.py"))["long_description"]()
    assert shown.startswith("# spacy-btl")
    assert "](docs/" not in shown
    assert "<!--" not in shown
    assert "(https://spacy.io/api/spancategorizer)" in shown
    assert "- Tutorials: brat, Prodigy, " in shown
