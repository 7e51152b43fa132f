"""Every code block of the documentation runs, or says why not."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import make_tiny_bert
from tests.doc_blocks import LANGUAGES, blocks, page_before, run_page

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a reader has after `make demo`, but for an encoder that is tiny and knows nothing."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("assets", "configs", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("minilm", "mac*"))
    shutil.copy(ROOT / "project.yml", folder)
    texts = [path.read_text("utf-8") for path in (ROOT / "assets" / "demo").glob("*.txt")]
    words = sorted(set(re.findall(r"\w+|[^\w\s]", " ".join(texts).lower())))
    make_tiny_bert(folder / "assets" / "minilm", words=words, max_wordpieces=256)
    return folder


@pytest.fixture(scope="module")
def run(clone, tmp_path_factory) -> Callable[[str], Path]:
    """Runs a page once, after the one before it; returns the folder that it leaves."""
    left: dict[str | None, Path] = {None: clone}

    def run(name: str) -> Path:
        if name not in left:
            before = page_before(ROOT / name)
            start = left[None] if before is None else run(before)
            folder = tmp_path_factory.mktemp("page") / "folder"
            shutil.copytree(start, folder)
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(folder)
                run_page(ROOT / name)
            left[name] = folder
        return left[name]

    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_page_runs(name, run):
    if not any(block.reason is None for block in blocks(ROOT / name)):
        pytest.skip("nothing on this page is to be run")
    run(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_block_has_a_language_or_a_reason_not_to_run(name):
    page = ROOT / name
    for block in blocks(page):
        assert block.language in LANGUAGES or block.reason, f"{name}, line {block.line}"
    fences = [line for line in page.read_text("utf-8").splitlines() if "```" in line]
    seen = [block for block in blocks(page) if block.code.endswith("\n")]
    assert len(fences) == 2 * len(seen), f"{name} has a fence that is indented or not closed"


@pytest.mark.slow
def test_a_page_that_does_not_run_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- before: n = 1 -->\n\n```python\nn += 1\nassert n == 3\n```\n", "utf-8")
    with pytest.raises(AssertionError) as failure:
        run_page(page)
    assert "line 3" in failure.value.__notes__[0]
    page.write_text("```bash\npython -m spacy btl stats no.spacy\n```\n", "utf-8")
    with pytest.raises(AssertionError, match=r"no\.spacy"):
        run_page(page)
    page.write_text("<!-- not run: fails -->\n\n```bash\nfalse\n```\n", "utf-8")
    run_page(page)
