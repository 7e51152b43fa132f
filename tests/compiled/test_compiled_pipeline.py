"""A compiled pipeline does what the trainable one does, whatever works with it."""

import copy
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
import torch
from spacy.cli.package import package
from spacy.lang.en import English
from spacy.language import Language

from spacy_btl import (
    annotate_file,
    average,
    calibrate,
    compile_pipeline,
    ensemble,
    evaluate,
    export_hf,
)
from spacy_btl.compiled.encoder import shim_of
from spacy_btl.compiled.engine import REQUIREMENT, TELEMETRY, load_library, threads
from spacy_btl.errors import PipelineError
from spacy_btl.models.compiled import is_compiled
from tests.conftest import SENTENCES, make_examples

NOTES = [
    "the patient had severe fever and cough",
    "crp was 84 mg / l today . " * 20,
    "",
    "  \n ",
    "pain in the left arm , no fever [SEP] [CLS]",
]


@pytest.fixture
def nlp(compiled_path) -> Language:
    return spacy.load(compiled_path)


@pytest.fixture
def original(fitted_path) -> Language:
    return spacy.load(fitted_path)


def found(docs) -> list[list[tuple[int, int, str, float]]]:
    return [
        [(ent.start, ent.end, ent.label_, round(ent._.confidence, 4)) for ent in doc.ents]
        for doc in docs
    ]


def test_its_vectors_are_those_of_plain_torch(nlp, original):
    network, tokenizer = (
        getattr(original.get_pipe("transformer").model, name)
        for name in ("transformer", "tokenizer")
    )
    encoding = tokenizer(NOTES[0], return_tensors="pt")
    with torch.no_grad():
        hidden = network.eval()(**encoding).last_hidden_state[0].numpy()
    words = np.array(encoding.word_ids(), dtype=float)
    (vectors,) = nlp.get_pipe("transformer").predict([nlp.make_doc(NOTES[0])])
    for number, vector in enumerate(vectors):
        np.testing.assert_allclose(vector, hidden[words == number].mean(axis=0), atol=1e-5)


def test_it_finds_the_same_entities_with_the_same_confidence(nlp, original):
    expected = found(original.pipe(NOTES))
    assert any(expected)
    assert found(nlp.pipe(NOTES)) == expected
    assert nlp.pipe_names == original.pipe_names


def test_a_note_is_read_alone_as_in_a_batch(nlp):
    encoder = nlp.get_pipe("transformer").model
    docs = list(map(nlp.make_doc, NOTES))
    for doc, vectors in zip(docs, encoder.predict(docs), strict=True):
        (alone,) = encoder.predict([doc])
        assert vectors.shape == (len(doc), 32)
        np.testing.assert_allclose(vectors, alone, rtol=0, atol=1e-5)


def test_a_word_that_the_encoder_does_not_see_has_a_vector_of_zeros(nlp):
    doc = nlp.make_doc("fever \n\n cough")
    (vectors,) = nlp.get_pipe("transformer").model.predict([doc])
    assert [bool(vector.any()) for vector in vectors] == [not token.is_space for token in doc]


def test_a_batch_without_words_gives_no_rows(nlp):
    encoder = nlp.get_pipe("transformer").model
    assert [len(rows) for rows in encoder.predict([nlp.make_doc("")] * 2)] == [0, 0]
    assert found(nlp.pipe(["", ""])) == [[], []]


def test_threads_read_as_one_does(nlp):
    notes = [f"severe fever {'and cough , ' * n}crp was {n} mg / l" for n in range(24)]
    expected = found(map(nlp, notes))
    with ThreadPoolExecutor(8) as pool:
        assert found(pool.map(nlp, notes)) == expected


@pytest.mark.slow  # processes
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_as_one_does(method, compiled_path):
    """Also where the engine has run before the fork."""
    code = (
        "import multiprocessing, sys, spacy\n"
        "if __name__ == '__main__':\n"
        "    multiprocessing.set_start_method(sys.argv[2])\n"
        "    nlp = spacy.load(sys.argv[1])\n"
        "    notes = ['severe fever and cough', 'crp was 84 mg / l today'] * 6\n"
        "    one = [doc.to_json()['ents'] for doc in nlp.pipe(notes)]\n"
        "    two = [doc.to_json()['ents'] for doc in nlp.pipe(notes, n_process=2, batch_size=3)]\n"
        "    assert any(one) and one == two\n"
    )
    script = compiled_path.parent / "processes.py"
    script.write_text(code)
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, str(script), str(compiled_path), method]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "copied",
    [
        lambda nlp, path: English.from_config(nlp.config).from_bytes(nlp.to_bytes()),
        lambda nlp, path: pickle.loads(pickle.dumps(nlp)),
        lambda nlp, path: copy.deepcopy(nlp),
        lambda nlp, path: nlp.to_disk(path) or spacy.load(path),
    ],
    ids=["bytes", "pickle", "copy", "disk"],
)
def test_a_copy_is_the_same_to_the_bit(copied, nlp, tmp_path):
    expected = nlp.get_pipe("transformer").predict([nlp.make_doc(NOTES[1])])
    other = copied(nlp, tmp_path / "model")
    assert (
        nlp.get_pipe("transformer").model.to_bytes()
        == other.get_pipe("transformer").model.to_bytes()
    )
    rows = other.get_pipe("transformer").predict([other.make_doc(NOTES[1])])
    np.testing.assert_array_equal(rows[0], expected[0])


RUNTIME = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "spacy_transformers", "nncf"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import reduce_mean
from spacy_btl.compiled.encoder import compiled_transformer
encoder = compiled_transformer(reduce_mean(), window=48, overlap=8)
encoder.from_bytes(open(sys.argv[1], "rb").read())
(rows,) = encoder.predict([Doc(Vocab(), words=sys.argv[2].split())])
print(rows.sum(axis=1).round(4).tolist())
assert "openvino_telemetry" not in sys.modules
"""


@pytest.mark.slow  # a process
def test_it_runs_without_torch_and_sends_nothing(compiled_path, nlp, tmp_path):
    (expected,) = nlp.get_pipe("transformer").predict([nlp.make_doc(NOTES[0])])
    home = {**os.environ, "HOME": str(tmp_path)}  # where the telemetry would keep its number
    done = subprocess.run(
        [sys.executable, "-c", RUNTIME, str(compiled_path / "transformer" / "model"), NOTES[0]],
        capture_output=True,
        text=True,
        env=home,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), expected.sum(axis=1), atol=1e-3)
    assert list(tmp_path.iterdir()) == []


def test_a_package_of_it_asks_for_the_engine(compiled_path, tmp_path):
    package(compiled_path, tmp_path, create_sdist=False, silent=True)
    (meta,) = tmp_path.glob("*/meta.json")
    requirements = json.loads(meta.read_text())["requirements"]
    extra = Path("setup.cfg").read_text().partition("runtime =\n")[2]
    assert REQUIREMENT in requirements
    assert REQUIREMENT in extra.partition("\ncompile")[0]
    assert any(requirement.startswith("spacy-btl") for requirement in requirements)


def test_a_packaged_pipeline_that_is_compiled_asks_for_no_library_of_training(
    fitted_path, tmp_path
):
    """`spacy package` writes into `meta.json` what it requires."""
    package(fitted_path, tmp_path, create_sdist=False, silent=True)
    (meta,) = tmp_path.glob("*/meta.json")
    assert "spacy-transformers" in meta.read_text()
    model = Path(shutil.copytree(fitted_path, tmp_path / "installed"))
    shutil.copy(meta, model)  # an installed package is loaded with its own
    compile_pipeline(str(model), tmp_path / "compiled", precision="fp32")
    requirements = srsly.read_json(tmp_path / "compiled" / "meta.json")["requirements"]
    assert "spacy-transformers" not in str(requirements)
    assert any(requirement.startswith("spacy-btl") for requirement in requirements)


def test_the_engine_uses_the_threads_that_it_is_told(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3,2")
    assert threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert 1 <= threads() <= (os.cpu_count() or 1)


def test_the_telemetry_can_be_imported_by_others(monkeypatch):
    marker = object()
    monkeypatch.setitem(sys.modules, TELEMETRY, marker)
    load_library("openvino", "runtime")
    assert sys.modules[TELEMETRY] is marker


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        PipelineError, match=r"openvino is not installed.*'\.\[runtime\]' in the clone"
    ):
        load_library("openvino", "runtime")


def test_it_is_not_trained(nlp, compiled_path):
    with pytest.raises(PipelineError, match="compiled pipeline cannot be trained"):
        nlp.update(make_examples(nlp), sgd=nlp.resume_training())
    config = spacy.util.load_config(compiled_path / "config.cfg")
    fresh = English.from_config(config)
    with pytest.raises(PipelineError, match="compiled pipeline cannot be trained"):
        fresh.initialize(lambda: make_examples(fresh))


def test_an_empty_one_says_so(nlp):
    empty = English.from_config(nlp.config)
    with pytest.raises(PipelineError, match="empty: load it"):
        empty.get_pipe("transformer").predict([empty.make_doc("fever")])


def damaged(content: bytes, kind: str) -> bytes:
    saved = srsly.msgpack_loads(content)
    if kind == "cut":
        return content[:-100]
    if kind == "precision":
        return srsly.msgpack_dumps({**saved, "precision": "int4"})
    if kind == "tokenizer":
        return srsly.msgpack_dumps({**saved, "tokenizer": {**saved["tokenizer"], "tokenizer": "{"}})
    return srsly.msgpack_dumps({key: value for key, value in saved.items() if key != "weights"})


@pytest.mark.parametrize("kind", ["cut", "precision", "tokenizer", "weights"])
def test_damaged_bytes_are_refused(kind, nlp):
    shim = shim_of(nlp.get_pipe("transformer").model)
    with pytest.raises(PipelineError, match=r"cannot be loaded.*Compile the pipeline again"):
        shim.from_bytes(damaged(shim.to_bytes(), kind))


def test_what_takes_a_pipeline_takes_it(compiled_path, fitted_path, held_out_path, tmp_path):
    scores, others = (
        evaluate(str(path), held_out_path)["scores"] for path in (compiled_path, fitted_path)
    )
    for key in ("ents_f", "ents_macro_f", "tag_uar", "ents_ece"):
        assert scores[key]["value"] == pytest.approx(others[key]["value"], abs=1e-5)
    notes = tmp_path / "notes.jsonl"
    srsly.write_jsonl(notes, [{"id": i, "text": text} for i, (text, _) in enumerate(SENTENCES)])
    for name, path in {"one": compiled_path, "two": fitted_path}.items():
        annotate_file(str(path), notes, tmp_path / f"{name}.jsonl")
    rows, expected = (list(srsly.read_jsonl(tmp_path / f"{name}.jsonl")) for name in ("one", "two"))
    assert [(row["start"], row["label"]) for row in rows] == [
        (row["start"], row["label"]) for row in expected
    ]


def test_neighbours_of_an_entity_are_explained(nlp, original):
    explained = [
        pipeline.get_pipe("knn_calibrator").explain(pipeline(NOTES[0]).ents[0])
        for pipeline in (nlp, original)
    ]
    documents = [[neighbor.document for neighbor in tokens[0].neighbors] for tokens in explained]
    assert documents[0] == documents[1]


def test_it_is_calibrated_again(compiled_path, corpus_path, held_out_path, tmp_path):
    again = calibrate(
        str(compiled_path),
        corpus_path,
        tmp_path / "new",
        settings={"n_neighbors": 5},
        held_out=held_out_path,
    )
    assert is_compiled(spacy.load(tmp_path / "new"))
    assert again.get_pipe("knn_calibrator").calibrator.settings.n_neighbors == 5


def test_what_needs_weights_refuses_it(compiled_path, trained_path, tmp_path):
    for combine in (average, ensemble):
        with pytest.raises(PipelineError, match="is compiled"):
            combine([str(compiled_path), str(trained_path)], tmp_path / "combined")
    with pytest.raises(PipelineError, match="Of a compiled"):
        export_hf(str(compiled_path), tmp_path / "checkpoint")
    assert list(tmp_path.iterdir()) == []
