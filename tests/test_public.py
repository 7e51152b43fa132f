"""What `from spacy_btl import ...` offers: loaded late, known to type checkers, with examples."""

import ast
import doctest
import inspect
import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.training import Example

import spacy_btl
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.exchange.huggingface import export_hf
from tests.conftest import SENTENCES, make_corpus, make_examples

ROOT = Path(__file__).parent.parent
NAMES = [name for name in spacy_btl.__all__ if name != "__version__"]
FUNCTIONS = [name for name in NAMES if name != "DISPLACY_COLORS"]

LOADED = """
import json, sys
import spacy_btl
assert "convert" in dir(spacy_btl)
assert not hasattr(spacy_btl, "no_such_name")
from spacy_btl import DISPLACY_COLORS
libraries = ("torch", "transformers", "spacy", "thinc", "numpy")
print(json.dumps([name for name in sys.modules if name in libraries]))
"""


@pytest.mark.slow
def test_importing_the_package_loads_no_library():
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []


def test_type_checkers_see_the_names_that_are_loaded():
    tree = ast.parse((ROOT / "spacy_btl" / "__init__.py").read_text("utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {}
    for node in block.body:
        (alias,) = node.names
        assert alias.asname == alias.name  # exported, by the rule of type checkers
        seen[alias.name] = node.module.removeprefix("spacy_btl.")
    assert seen == spacy_btl.MODULES


def test_what_the_reference_lists_can_be_imported():
    reference = runpy.run_path(str(ROOT / "scripts" / "reference.py"))
    targets = {
        line.removeprefix("::: ")
        for page in reference["pages"]().values()
        for line in page.splitlines()
        if line.startswith("::: ")
    }
    # spaCy makes the pipes, by `nlp.add_pipe`.
    targets -= set(reference["entry_points"]()["spacy_factories"].values())
    assert {target.rpartition(".")[2] for target in targets} == set(NAMES)
    assert set(dir(spacy_btl)) == {*NAMES, "__version__"}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_what_its_module_has(name):
    value = getattr(spacy_btl, name)
    if callable(value):
        assert value.__name__ == name
        assert value.__module__ == f"spacy_btl.{spacy_btl.MODULES[name]}"


@pytest.fixture(scope="module")
def folder(
    calibrated_path,
    mapped_path,
    calibrated_overlapping_path,
    trained_path,
    corpus_path,
    held_out_path,
    tiny_bert,
    tmp_path_factory,
):
    """The folder in which the examples run, with the files that they name."""
    folder = tmp_path_factory.mktemp("examples")
    for name, path in {
        "calibrated": calibrated_path,
        "mapped": mapped_path,
        "with_spans_key": calibrated_overlapping_path,
        "encoder": tiny_bert,
        "trained": trained_path,
        "other": trained_path,
        "train.spacy": corpus_path,
        "held_out.spacy": held_out_path,
        "corpus": ROOT / "assets" / "demo",
    }.items():
        (folder / name).symlink_to(path)
    unseen = make_corpus(spacy.blank("en"), repeat=20, ending=" note")
    write_docs(folder / "unseen.spacy", unseen)
    (folder / "notes").mkdir()
    (folder / "notes" / "n1.txt").write_text("the patient had severe fever and cough")
    (folder / "unlabelled").mkdir()
    for number, (text, _) in enumerate(SENTENCES * 3):
        (folder / "unlabelled" / f"{number}.txt").write_text(f"{text} . {number}")
    export_hf(str(trained_path), folder / "checkpoint")
    return folder


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_a_docstring_runs(name, folder, monkeypatch):
    value = getattr(spacy_btl, name)
    (test,) = doctest.DocTestFinder(recurse=False).find(value, name)
    assert 1 <= len(test.examples) <= 5, f"{name} needs a short example"
    assert f"from spacy_btl import {name}" in test.docstring or inspect.isclass(value)
    nlp = spacy.load(folder / "calibrated")
    test.globs = {
        "Path": Path,
        "np": np,
        "nlp": nlp,
        "doc": nlp("the patient had severe fever and cough"),
        "examples": [Example(nlp(eg.text), eg.reference) for eg in make_examples(nlp)],
    }
    monkeypatch.chdir(folder)
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)
