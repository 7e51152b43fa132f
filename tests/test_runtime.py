"""A pipeline for production: loaded and run in a process that has no library of training."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from spacy_btl.pipeline.annotations import confidence
from tests.conftest import SENTENCES, make_examples, train

pytestmark = pytest.mark.slow  # each test starts a process

TEXTS = [text for text, _ in SENTENCES]
ROOT = Path(__file__).parent.parent
# What only training needs, and what these bring with them.
REFUSED = (
    "torch",
    "transformers",
    "spacy_transformers",
    "iterstrat",
    "accelerate",
)
DISTRIBUTIONS = {name.replace("_", "-") for name in REFUSED}
# The search by clusters needs torch.
SEARCH = {"@misc": "spacy_btl.SklearnSearch.v1"}
# `spacy.load` imports all that an installed distribution registers as factories: hide these too.
PREAMBLE = f"""
import json, sys
from importlib.machinery import PathFinder
from importlib.metadata import MetadataPathFinder

find_spec, find_distributions = PathFinder.find_spec, MetadataPathFinder.find_distributions

def spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {REFUSED} else find_spec(name, path, target)

def distributions(*context):
    return (one for one in find_distributions(*context) if one.name.lower() not in {DISTRIBUTIONS})

PathFinder.find_spec = staticmethod(spec)
MetadataPathFinder.find_distributions = staticmethod(distributions)
"""
PREDICT = """
import spacy
from spacy_btl.pipeline.annotations import confidence
nlp = spacy.load(sys.argv[1])
docs = nlp.pipe(json.loads(sys.argv[2]))
print(json.dumps([[(e.start, e.end, e.label_, confidence(e)) for e in doc.ents] for doc in docs]))
"""
COMMAND = """
from spacy.cli import setup_cli
sys.argv[0] = "spacy"
setup_cli()
"""
# What each of the servers imports before it opens a port.
SERVERS = """
import spacy_btl.cli.serve, spacy_btl.serve.app, spacy_btl.serve.server, spacy_btl.serve.training
import spacy_btl.cli.visualize, spacy_btl.web.server, spacy_btl.web.session, spacy_btl.web.content
from spacy_btl.serve.model import Model
notes = Model(sys.argv[1]).predict(json.loads(sys.argv[2])).notes
print(json.dumps([len(found) for found in notes]))
"""


def hash_embeddings() -> Language:
    """`tok2vec` of spaCy's own, `ner`, `knn_calibrator` with maps, `doc_cleaner`."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": listener}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    train(nlp)
    calibrator = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3, "search": SEARCH})
    calibrator.fit(make_examples(nlp))
    calibrator.fit_maps(make_examples(nlp))
    nlp.add_pipe("doc_cleaner")
    return nlp


PIPELINES: dict[str, Callable[[], Language]] = {"hash embeddings": hash_embeddings}


@pytest.fixture(scope="module", params=PIPELINES)
def path(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runtime") / "model"
    PIPELINES[request.param]().to_disk(folder)
    return folder


def run(code: str, *arguments: object, folder: Path = ROOT) -> str:
    """Run code where `REFUSED` cannot be imported. RETURNS (str): What it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def found_by(nlp: Language) -> list[list[list[object]]]:
    return [
        [[ent.start, ent.end, ent.label_, confidence(ent)] for ent in doc.ents]
        for doc in nlp.pipe(TEXTS)
    ]


def test_predicts_the_same_without_the_libraries_of_training(path):
    found = json.loads(run(PREDICT, path, json.dumps(TEXTS)))
    assert any(found)
    assert found == found_by(spacy.load(path))


def test_the_commands_of_production_need_no_library_of_training(path, corpus_path, tmp_path):
    notes = tmp_path / "notes"
    notes.mkdir()
    for number, text in enumerate(TEXTS):
        (notes / f"{number}.txt").write_text(text)
    commands = [
        ["annotate", path, notes, tmp_path / "entities.jsonl"],
        ["evaluate", path, corpus_path],
        ["explain", path, notes / "0.txt"],
        ["suggest", path, notes, tmp_path / "ranking.jsonl"],
    ]
    for command in commands:
        run(COMMAND, "btl", *command, folder=tmp_path)
    rows = (tmp_path / "entities.jsonl").read_text().splitlines()
    assert len(rows) == sum(map(len, found_by(spacy.load(path))))
    assert (tmp_path / "ranking.jsonl").read_text()


def test_the_servers_need_no_library_of_training(path):
    pytest.importorskip("starlette", reason="needs the extra: spacy-btl[serve]")
    pytest.importorskip("streamlit", reason="needs the extra: spacy-btl[web]")
    counts = json.loads(run(SERVERS, path, json.dumps(TEXTS)))
    assert counts == list(map(len, found_by(spacy.load(path))))
