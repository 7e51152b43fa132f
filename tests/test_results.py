"""The results page is what the committed result files say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_page_is_made_from_the_result_files():
    page = runpy.run_path(str(ROOT / "scripts" / "results_page.py"))["page"]
    assert page() == (ROOT / "docs" / "results.md").read_text("utf-8")
