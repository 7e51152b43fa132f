"""Nothing is fetched when a pipeline is loaded and used, and nothing of ours is a pickle."""

import ast
import json
import os
import pickletools
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
import srsly

import spacy_btl
from tests.conftest import SENTENCES, make_examples

NOTES = [text for text, _ in SENTENCES]
SOURCES = sorted(Path(spacy_btl.__file__).parent.rglob("*.py"))


@pytest.fixture(scope="module")
def calibrated(trained_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibrated pipeline with maps, on disk."""
    nlp = spacy.load(trained_path)
    pipe = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 5})
    pipe.fit(make_examples(nlp))
    pipe.fit_maps(make_examples(nlp))
    folder = tmp_path_factory.mktemp("calibrated") / "model"
    nlp.to_disk(folder)
    return folder


OFFLINE = """
import json, socket, sys

def refuse(*args, **kwargs):
    raise AssertionError("the network is asked")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse

import spacy

nlp = spacy.load(sys.argv[1])
docs = list(nlp.pipe(json.loads(sys.argv[2])))
nlp.get_pipe("knn_calibrator").explain(docs[0][:])
print(json.dumps([[[ent.text, ent.label_] for ent in doc.ents] for doc in docs]))
"""


@pytest.mark.slow
def test_a_pipeline_is_loaded_and_used_without_the_network(calibrated, tmp_path):
    (tmp_path / "offline.py").write_text(OFFLINE)
    # As on a machine that never asked the hub for anything, and does not know that it is offline.
    online = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "offline.py"), str(calibrated), json.dumps(NOTES)],
        capture_output=True,
        text=True,
        env={**online, "HF_HOME": str(tmp_path / "hub"), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    expected = [
        [[ent.text, ent.label_] for ent in doc.ents] for doc in spacy.load(calibrated).pipe(NOTES)
    ]
    assert any(expected)
    assert json.loads(done.stdout) == expected


def is_pickle(data: bytes) -> bool:
    try:
        for _ in pickletools.genops(data):
            pass
    except Exception:  # pickletools has several
        return False
    return True


def blobs(value: object) -> Iterator[bytes]:
    """All bytes in nested msgpack, that of layers included."""
    if isinstance(value, bytes):
        yield value
        try:
            yield from blobs(srsly.msgpack_loads(value))
        except Exception:  # it is no msgpack
            return
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from blobs(key)
            yield from blobs(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from blobs(one)


def test_no_file_of_a_saved_pipeline_is_a_pickle_save_for_torchs_weights(calibrated, tmp_path):
    zipped = []
    for path in sorted(path for path in calibrated.rglob("*") if path.is_file()):
        for blob in blobs(path.read_bytes()):
            assert not (len(blob) > 1 and is_pickle(blob)), path
            if blob.startswith(b"PK"):
                (tmp_path / "zip").write_bytes(blob)
                names = zipfile.ZipFile(tmp_path / "zip").namelist()
                zipped.append((path.relative_to(calibrated), {Path(name).name for name in names}))
    ((path, names),) = zipped
    assert path == Path("transformer", "model")
    assert "data.pkl" in names  # torch's own, which it reads in weights-only mode


PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LOADERS = {"torch.load", "joblib.load", "srsly.pickle_loads", "pickle_loads", "eval", "exec"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def unsafe(source: str) -> list[str]:
    """What unpickles, or may, by what it is named."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in PICKLERS]
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found += [str(node.module)] if str(node.module).split(".")[0] in PICKLERS else []
            found += sorted(names & LOADERS)
        elif isinstance(node, ast.Call):
            keywords = {keyword.arg: keyword.value for keyword in node.keywords}
            allowed = keywords.get("allow_pickle")
            refuses = isinstance(allowed, ast.Constant) and allowed.value is False
            if dotted(node.func) in ("np.load", "numpy.load", "np.save", "np.savez_compressed"):
                found += [] if refuses else [dotted(node.func)]
            elif dotted(node.func) in LOADERS or (allowed is not None and not refuses):
                found.append(dotted(node.func))
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import os, dill as d",
        "from joblib import load",
        "from torch import load",
        "torch.load(path)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "read(path, allow_pickle=flag)",
    ],
)
def test_the_scan_finds_what_unpickles(source):
    assert unsafe(source)


def test_our_source_unpickles_nothing():
    assert len(SOURCES) > 50
    assert {path.name: unsafe(path.read_text("utf-8")) for path in SOURCES} == {
        path.name: [] for path in SOURCES
    }
