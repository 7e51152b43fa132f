"""The code blocks of a page of documentation, and how each is run.

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
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spacy
from confection import Config
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)

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
