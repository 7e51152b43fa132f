"""Every code block of the documentation runs, or says why not.

A block is run by its language, in the order of the page and in one Python namespace:

- python: as it is;
- bash: `python -m spacy ...` in this process, which saves the start; all else by bash;
- ini: its registered names have to resolve. json: a value on each line. text: output, not run.

Comments of HTML, which no reader sees, say the rest:

    <!-- after: docs/tutorials/brat.md -->   the page begins in the folder that another one leaves
    <!-- before: PYTHON -->                  is run in its place, for what a page takes as given
    <!-- not run: REASON -->                 stands before a block, and keeps it from being run
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import spacy
from confection import Config
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from tests.conftest import make_tiny_bert

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]

PART = re.compile(
    r"^<!-- before:\s(?P<before>.*?)\s*-->$"
    r"|(?:^<!-- not run: (?P<reason>[^\n]+?) -->\n+)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
AFTER = re.compile(r"^<!-- after: (\S+) -->$", re.MULTILINE)
REGISTERED = re.compile(r'^@(\w+) = "(.+)"$', re.MULTILINE)
LANGUAGES = ("python", "bash", "ini", "json", "text")
# Packages of the reader's own: here the pipeline of the first tutorial.
PACKAGES = re.compile(r"\ben_(btl_clinical|my_model)\b(?!-)")
STEPS = ["--training.max_steps", "5"]


@dataclass(frozen=True)
class Block:
    """A block, the line that it begins at, and why it is not run (None: it is)."""

    language: str
    code: str
    line: int
    reason: str | None


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order, hidden ones among them."""
    text = page.read_text("utf-8")
    for match in PART.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        if match["before"] is not None:
            yield Block("python", match["before"], line, None)
        else:
            yield Block(match["language"], match["code"], line, match["reason"])


def page_before(page: Path) -> str | None:
    """The page whose folder a page begins in, from the root of the repository."""
    match = AFTER.search(page.read_text("utf-8"))
    return match[1] if match else None


def run_page(page: Path) -> None:
    """Run the blocks of a page in the working directory."""
    namespace: dict[str, Any] = {"__name__": page.stem}
    for block in blocks(page):
        if block.reason is None:
            code = PACKAGES.sub("training/calibrated", block.code)
            try:
                run_block(block, code, namespace)
            except Exception as error:
                error.add_note(f"in the block at line {block.line} of {page}")
                raise


def run_block(block: Block, code: str, namespace: dict[str, Any]) -> None:
    """Run one block by its language."""
    if block.language == "python":
        exec(compile("\n" * block.line + code, "page", "exec"), namespace)
    elif block.language == "bash":
        run_commands(code)
    elif block.language == "ini":
        Config().from_str(code, interpolate=False)
        for registry, name in REGISTERED.findall(code):
            assert spacy.registry.has(registry, name), f"{name} is not registered"
    elif block.language == "json":
        for line in code.splitlines():
            json.loads(line)


def run_commands(code: str) -> None:
    """Run the commands of a bash block."""
    if "<<" in code:  # a here-document is no command by line
        subprocess.run(["bash", "-ec", code], check=True)
        return
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "spacy"]:
            spacy_command(words[3:])
        elif words:
            assert words[0] not in ("pip", "make"), "not for a test: mark it as not run"
            subprocess.run(["bash", "-ec", line], check=True)


def spacy_command(words: list[str]) -> None:
    """Run `python -m spacy ...`; a training takes a few steps only."""
    result = CliRunner().invoke(app, words + STEPS if words[0] == "train" else words)
    if result.exit_code != 0:
        raise AssertionError(f"{' '.join(words)}\n{result.output}") from result.exception


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    """What a reader has after `make .venv/installed` and `project run encoder`, but for an encoder
    that is tiny and knows nothing."""
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
