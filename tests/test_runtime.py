"""A pipeline for production: loaded and run in a process that has no library of training."""

import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from zipfile import ZipFile

import pytest
import spacy
from spacy.language import Language

import spacy_btl
from spacy_btl.compiled.compile import compile_pipeline
from spacy_btl.compiled.engine import load_library
from spacy_btl.errors import PipelineError
from spacy_btl.pipeline.annotations import confidence
from tests.conftest import SENTENCES, bert_pipeline, make_examples, make_tiny_bert, train

pytestmark = pytest.mark.slow  # each test starts a process

TEXTS = [text for text, _ in SENTENCES]
ROOT = Path(__file__).parent.parent
# What only training needs, and what these bring with them.
REFUSED = (
    "torch",
    "transformers",
    "spacy_transformers",
    "sklearn",
    "iterstrat",
    "joblib",
    "accelerate",
)
DISTRIBUTIONS = {name.replace("_", "-") for name in REFUSED} | {"scikit-learn"}
# `spacy.load` imports all that an installed distribution registers as factories: hide these too.
PREAMBLE = f"""
import json, sys
from importlib.machinery import PathFinder
from importlib.metadata import MetadataPathFinder

find_spec, find_distributions = PathFinder.find_spec, MetadataPathFinder.find_distributions

def spec(name, path=None, target=None):
    return None if name.partition(".")[0] in {REFUSED} else find_spec(name, path, target)

def distributions(*context):
    found = find_distributions(*context)  # one that is being installed has no name
    return (one for one in found if (one.name or "").lower() not in {DISTRIBUTIONS})

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
# The modules that `import spacy` and then `spacy.load` import.
LOADED = """
import spacy
before = set(sys.modules)
spacy.load(sys.argv[1])
print(json.dumps(sorted(set(sys.modules) - before)))
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
    """`tok2vec` of spaCy's own, and what `calibrated` adds."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": listener}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    return calibrated(train(nlp))


def compiled() -> Language:
    """A BERT on OpenVINO, with the same behind it."""
    try:
        load_library("nncf", "compile")
    except PipelineError as error:
        pytest.skip(str(error))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calibrated(train(bert_pipeline(make_tiny_bert(folder / "bert")))).to_disk(folder / "model")
        compile_pipeline(str(folder / "model"), folder / "compiled")
        return spacy.load(folder / "compiled")


def calibrated(nlp: Language) -> Language:
    """A trained pipeline with a `knn_calibrator` with maps, and a `doc_cleaner`."""
    calibrator = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3})
    calibrator.fit(make_examples(nlp))
    calibrator.fit_maps(make_examples(nlp))
    nlp.add_pipe("doc_cleaner")
    return nlp


PIPELINES: dict[str, Callable[[], Language]] = {
    "hash embeddings": hash_embeddings,
    "compiled": compiled,
}


@pytest.fixture(scope="module", params=PIPELINES)
def path(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runtime") / "model"
    PIPELINES[request.param]().to_disk(folder)
    return folder


def run(code: str, *arguments: object, folder: Path = ROOT) -> str:
    """Run code where `REFUSED` cannot be imported. RETURNS (str): What it prints."""
    done = run_whole(code, *arguments, folder=folder)
    assert not done.returncode, done.stderr
    return done.stdout


def run_whole(code: str, *arguments: object, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + code, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def found_by(nlp: Language) -> list[list[list[object]]]:
    return [
        [[ent.start, ent.end, ent.label_, confidence(ent)] for ent in doc.ents]
        for doc in nlp.pipe(TEXTS)
    ]


def test_predicts_the_same_without_the_libraries_of_training(path):
    found = json.loads(run(PREDICT, path, json.dumps(TEXTS)))
    assert any(found)
    assert found == found_by(spacy.load(path))


def test_loading_imports_no_library_of_fitting_or_of_commands(path):
    tops = {name.partition(".")[0] for name in json.loads(run(LOADED, path))}
    assert not tops & {*REFUSED, "pandas", "pyarrow", "starlette", "streamlit", "matplotlib"}
    loaded = json.loads(run(LOADED, path))
    assert not [name for name in loaded if name.partition(".")[0] == "scipy"]  # takes long to load


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


def test_the_wheel_for_prediction_requires_no_library_of_training():
    setup = runpy.run_path(str(ROOT / "setup.py"))
    metadata = setup["of_runtime"]()
    lines = chain(metadata["install_requires"], *metadata["extras_require"].values())
    names = {re.split(r"[<>=;\[ ]", line)[0] for line in lines}
    assert metadata["version"] == f"{spacy_btl.__version__}+runtime"
    assert {"spacy", "numpy", "openvino", "tokenizers"} <= names
    assert not names & setup["TRAINING"]


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["fit", "notes", "out"], "This needs torch"),
        (["annotate", "MODEL", "notes", "out.jsonl"], "its encoder needs spacy-transformers"),
    ],
)
def test_what_needs_the_libraries_of_training_says_so(command, problem, trained_path, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "1.txt").write_text(TEXTS[0])
    words = [str(trained_path) if word == "MODEL" else word for word in command]
    done = run_whole(COMMAND, "btl", *words, folder=tmp_path)
    assert done.returncode == 1
    assert problem in done.stderr
    assert "installed for prediction alone" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_the_wheel_for_prediction_is_a_local_version_with_few_requirements(tmp_path):
    for source in runpy.run_path(str(ROOT / "scripts" / "counts.py"))["tracked_files"](ROOT):
        copy = tmp_path / "tree" / source.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(source.read_bytes())
    for variables in ({}, {"SPACY_BTL_RUNTIME": "1"}):
        subprocess.run(
            [sys.executable, "setup.py", "--quiet", "bdist_wheel", "--dist-dir", "../dist"],
            cwd=tmp_path / "tree",
            env={**os.environ, **variables},
            check=True,
            capture_output=True,
        )
    version = spacy_btl.__version__
    whole = requirements(tmp_path / "dist" / f"spacy_btl-{version}-py3-none-any.whl")
    few = requirements(tmp_path / "dist" / f"spacy_btl-{version}+runtime-py3-none-any.whl")
    assert "torch" in whole
    assert whole - few == runpy.run_path(str(ROOT / "setup.py"))["TRAINING"]
    assert few - whole == {"openvino", "tokenizers"}


def requirements(wheel: Path) -> set[str]:
    """The names of what a wheel requires without an extra."""
    with ZipFile(wheel) as files:
        (name,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        lines = re.findall(r"^Requires-Dist: (.*)$", files.read(name).decode(), re.MULTILINE)
    return {re.split(r"[<>=;\[ ]", line)[0] for line in lines if "extra ==" not in line}
