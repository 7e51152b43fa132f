"""The README's tables are what the project's files say."""

import runpy
import shutil
from pathlib import Path

import pytest
from spacy.cli.project.document import project_document

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


@pytest.mark.skipif(
    not (ROOT / "experiments" / "results" / "bias.json.xz").exists(), reason="not a clone"
)
def test_the_results_are_those_of_the_result_files():
    with_results = runpy.run_path(str(ROOT / "scripts" / "results_table.py"))["with_results"]
    assert with_results(README) == README


def test_the_commands_are_those_of_the_project_file(tmp_path):
    shutil.copy(ROOT / "project.yml", tmp_path)
    shutil.copy(ROOT / "README.md", tmp_path)
    project_document(tmp_path, tmp_path / "README.md", no_emoji=True)
    assert (tmp_path / "README.md").read_text("utf-8") == README
