"""The pages of results are what the committed result files say."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["results", "scale", "performance"])
def test_the_page_is_made_from_the_result_files(name):
    page = ROOT / "docs" / f"{name}.md"
    if name == "performance" and not (ROOT / "bench" / "results" / "cpu.json").exists():
        pytest.skip("no result file: `make bench` writes it")
    make = runpy.run_path(str(ROOT / "scripts" / f"{name}_page.py"))["page"]
    assert make() == page.read_text("utf-8")
