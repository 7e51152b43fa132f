"""`knn_calibrator` on disk, in bytes and in other processes."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from safetensors.numpy import load_file
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import CalibratorError
from tests.conftest import PAPER, SENTENCES, make_examples

NOTES = [text for text, _ in SENTENCES] + ["aspirin 84 mg daily", "mild chest pain"]
SETTINGS = {**PAPER, "n_neighbors": 5, "knn_weight": 0.7}
DATASTORE = Path("knn_calibrator", "datastore.safetensors")


@pytest.fixture(scope="module")
def calibrated(trained_path) -> Language:
    """Shared: do not change it."""
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config=SETTINGS)
    nlp.get_pipe("knn_calibrator").fit(make_examples(nlp))
    return nlp


@pytest.fixture
def saved(calibrated, tmp_path) -> Path:
    calibrated.to_disk(tmp_path / "model")
    return tmp_path / "model"


def settings_of(nlp: Language) -> Settings:
    return nlp.get_pipe("knn_calibrator").calibrator.settings


def output(docs) -> list[list[tuple[int, int, str, float]]]:
    return [[(e.start, e.end, e.label_, e._.confidence) for e in doc.ents] for doc in docs]


def probabilities(nlp: Language) -> list[np.ndarray]:
    return nlp.get_pipe("knn_calibrator").predict(list(nlp.pipe(NOTES)))


def assert_same_bit_for_bit(one: Language, other: Language) -> None:
    for before, after in zip(probabilities(one), probabilities(other), strict=True):
        np.testing.assert_array_equal(before, after)
    expected = output(one.pipe(NOTES))
    assert output(other.pipe(NOTES)) == expected
    assert any(expected)
    assert all(ent[3] is not None for doc in expected for ent in doc)


def test_a_pipeline_comes_back_from_disk_bit_for_bit(calibrated, saved):
    assert_same_bit_for_bit(calibrated, spacy.load(saved))


def test_a_pipeline_comes_back_from_bytes_bit_for_bit(calibrated, trained_path):
    other = spacy.load(trained_path)
    other.add_pipe("knn_calibrator", config=SETTINGS)
    other.from_bytes(calibrated.to_bytes())
    assert_same_bit_for_bit(calibrated, other)


def test_the_pipe_comes_back_from_a_pickle(calibrated):
    pipe = calibrated.get_pipe("knn_calibrator")
    back = pickle.loads(pickle.dumps(pipe))
    docs = list(calibrated.pipe(NOTES))
    for before, after in zip(pipe.predict(docs), back.predict(docs), strict=True):
        np.testing.assert_array_equal(before, after)
    assert back.calibrator.settings == pipe.calibrator.settings == Settings(**SETTINGS)
    assert back.nlp.get_pipe("knn_calibrator") is back
    back.fit(make_examples(back.nlp, repeat=2))
    assert len(back.calibrator.datastore.tags) == 2 * len(pipe.calibrator.datastore.tags)


def test_a_pickled_pipe_keeps_its_error_handler(calibrated, trained_path):
    pipe = pickle.loads(pickle.dumps(calibrated.get_pipe("knn_calibrator")))
    pipe.set_error_handler(spacy.util.ignore_error)
    back = pickle.loads(pickle.dumps(pipe))
    assert list(back.pipe([calibrated.make_doc("without logits")])) == []


def test_settings_can_be_overridden_at_loading(saved):
    assert settings_of(spacy.load(saved)) == Settings(**SETTINGS)
    changed = {"tau": 1.0, "n_neighbors": 3}
    nlp = spacy.load(saved, config={"components": {"knn_calibrator": changed}})
    assert settings_of(nlp) == Settings(**{**SETTINGS, **changed})
    assert all(len(doc) for doc in nlp.pipe(NOTES))


def test_a_tau_per_type_is_saved(trained_path, tmp_path):
    nlp = spacy.load(trained_path)
    tau = {"Sign": 2.0, "O": 0.5}
    nlp.add_pipe("knn_calibrator", config={**PAPER, "tau": tau, "knn_weight": 0.0})
    nlp.to_disk(tmp_path)
    assert_same_bit_for_bit(nlp, spacy.load(tmp_path))
    assert settings_of(spacy.load(tmp_path)).tau == tau
    changed = {"components": {"knn_calibrator": {"tau": {"Sign": 3.0}}}}
    nlp = spacy.load(tmp_path, config=changed)
    assert settings_of(nlp).tau == {"Sign": 3.0, "O": 0.5}


def test_an_unfitted_pipe_comes_back_unfitted(trained_path, tmp_path):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator")
    nlp.to_disk(tmp_path)
    back = spacy.load(tmp_path)
    with pytest.warns(UserWarning, match="not fitted"):
        assert back(NOTES[0]).ents
    pipe = back.get_pipe("knn_calibrator")
    pipe.fit(make_examples(back))
    pipe.from_disk(tmp_path / "knn_calibrator")
    assert pipe.calibrator.datastore is None


def test_knn_weight_zero_comes_back_without_a_datastore(trained_path, tmp_path):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={**PAPER, "knn_weight": 0.0})
    nlp.to_disk(tmp_path)
    assert_same_bit_for_bit(nlp, spacy.load(tmp_path))


def test_our_files_hold_plain_data_and_no_pickle(saved):
    names = {p.name for p in (saved / "knn_calibrator").iterdir()}
    assert names == {DATASTORE.name, "maps.safetensors", "reference.safetensors"}
    assert set(load_file(saved / DATASTORE)) == {
        "logits",
        "tags",
        "documents",
        "starts",
        "ends",
        "prior",
        "clusters",
    }
    assert sorted(p.name for p in (saved / "ner").iterdir()) == ["cfg", "model"]
    assert srsly.read_json(saved / "ner" / "cfg")["labels"]
    # A thinc model is msgpack; only a wrapped PyTorch layer (a shim) brings torch's pickles.
    model = srsly.msgpack_loads((saved / "ner" / "model").read_bytes())
    assert not any(model["shims"])


DAMAGES = {
    "missing": lambda file: file.unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut off in the header": lambda file: file.write_bytes(file.read_bytes()[:50]),
    "cut off in the arrays": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "a pickle": lambda file: file.write_bytes(pickle.dumps({"logits": 1})),
    "another file": lambda file: file.write_text("not fitted yet"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_an_error_that_names_it(saved, damage):
    DAMAGES[damage](saved / DATASTORE)
    with pytest.raises(CalibratorError) as caught:
        spacy.load(saved)
    assert str(saved / DATASTORE) in str(caught.value)
    assert ("is missing" if damage == "missing" else "it is damaged") in str(caught.value)


def test_damaged_bytes_are_an_error_that_names_the_pipe(calibrated):
    pipe = pickle.loads(pickle.dumps(calibrated.get_pipe("knn_calibrator")))
    with pytest.raises(CalibratorError, match="'knn_calibrator': it is damaged"):
        pipe.from_bytes(srsly.msgpack_dumps({"datastore": b"?"}))


def test_confidence_survives_with_the_doc(calibrated):
    docs = list(calibrated.pipe(NOTES))
    expected = output(docs)
    vocab = calibrated.vocab
    assert output(Doc(vocab).from_bytes(doc.to_bytes()) for doc in docs) == expected
    data = DocBin(docs=docs, store_user_data=True).to_bytes()
    assert output(DocBin().from_bytes(data).get_docs(vocab)) == expected
    assert output(pickle.loads(pickle.dumps(docs))) == expected


WORKERS = """
import json, multiprocessing, sys
import spacy, torch

def main(model, notes):
    torch.set_num_threads(1)  # fork and a second thread of torch's do not agree
    nlp = spacy.load(model)
    def run(**kwargs):
        docs = nlp.pipe(notes, batch_size=2, **kwargs)
        return [[(e.text, e.label_, round(e._.confidence, 4)) for e in d.ents] for d in docs]
    results = {"here": run()}
    for method in ("spawn", "fork"):
        multiprocessing.set_start_method(method, force=True)
        results[method] = run(n_process=2)
    print(json.dumps(results))

if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
"""


@pytest.mark.slow
def test_two_processes_give_what_one_gives(saved, tmp_path):
    script = tmp_path / "workers.py"
    script.write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, str(script), str(saved), json.dumps(NOTES)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert any(results["here"])
    assert results["spawn"] == results["here"]
    assert results["fork"] == results["here"]


def test_a_copied_pipeline_has_a_calibrator_of_its_own(calibrated):
    nlp = copy.deepcopy(calibrated)
    pipe = nlp.get_pipe("knn_calibrator")
    assert pipe.nlp is nlp
    assert output(nlp.pipe(NOTES)) == output(calibrated.pipe(NOTES))
    pipe.fit(make_examples(nlp, repeat=2))
    original = calibrated.get_pipe("knn_calibrator")
    assert len(pipe.calibrator.datastore.tags) == 2 * len(original.calibrator.datastore.tags)


def test_a_copy_of_an_unfitted_calibrator_is_unfitted(trained_path):
    """With knn_weight = 0 it reads the network's tags, those of the copy."""
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={**PAPER, "knn_weight": 0.0})
    pipe = copy.deepcopy(nlp).get_pipe("knn_calibrator")
    assert pipe.is_ready()
    pipe.calibrator.set_params(knn_weight=1.0)
    assert not pipe.is_ready()


def test_what_is_excluded_is_neither_saved_nor_missed(calibrated, tmp_path):
    pipe = calibrated.get_pipe("knn_calibrator")
    pipe.to_disk(tmp_path, exclude=["maps"])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"datastore.safetensors", "reference.safetensors"}
    nlp = spacy.blank("en")
    back = nlp.add_pipe("knn_calibrator").from_disk(tmp_path, exclude=["maps"])
    expected = pipe.calibrator.datastore.logits
    np.testing.assert_array_equal(back.calibrator.datastore.logits, expected)
