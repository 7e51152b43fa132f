"""The pages of results are what the committed result files say."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["results", "scale"])
def test_the_page_is_made_from_the_result_files(name):
    page = runpy.run_path(str(ROOT / "scripts" / f"{name}_page.py"))["page"]
    assert page() == (ROOT / "docs" / f"{name}.md").read_text("utf-8")
