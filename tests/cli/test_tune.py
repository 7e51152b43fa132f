"""`python -m spacy btl tune`: what is chosen is the best of the grid, and what is saved is that."""

from itertools import product
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from spacy.training import Example
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.training import tune as module
from spacy_btl.training.tune import tune
from spacy_btl.training.validation import Validation
from tests.calibration.test_fit import HELD_OUT
from tests.conftest import PAPER, make_examples

FIGURES = {"tag_uar": "tag_uar", "tag_macro_f": "tag_macro_f", "ents_f": "ents_f"}


@pytest.fixture
def small_grid(monkeypatch):
    monkeypatch.setattr(module, "KNN_WEIGHTS", (0.0, 0.5, 1.0))
    monkeypatch.setattr(module, "TRANSITION_WEIGHTS", (0.0, 0.5))
    monkeypatch.setattr(module, "TAUS", (-0.5, 0.0, 0.5, 1.0))


@pytest.fixture(scope="module")
def model(trained_path, tmp_path_factory) -> Path:
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={**PAPER, "n_neighbors": 5}).fit(make_examples(nlp))
    path = tmp_path_factory.mktemp("calibrated") / "model"
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def dev(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("dev") / "dev.spacy"
    nlp = spacy.blank("en")
    docs = []
    for text, entities in HELD_OUT:
        docs.append(Example.from_dict(nlp.make_doc(text), {"entities": entities}).reference)
    DocBin(docs=docs).to_disk(path)
    return path


def run(*args: str | Path) -> tuple[int, str]:
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "tune", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


def evaluate(nlp: spacy.Language) -> dict[str, float]:
    examples = [
        Example.from_dict(nlp.make_doc(text), {"entities": entities}) for text, entities in HELD_OUT
    ]
    scores = nlp.evaluate(examples)
    return {name: scores[theirs] for name, theirs in FIGURES.items()}


def test_what_is_saved_has_the_figures_that_are_told(model, trained_path, dev, tmp_path):
    tuned = tune(str(model), dev, tmp_path / "out")
    nlp = spacy.load(tmp_path / "out")
    assert evaluate(nlp) == pytest.approx(tuned.chosen._asdict())
    assert evaluate(spacy.load(trained_path)) == pytest.approx(tuned.plain._asdict())
    pipe = nlp.get_pipe("knn_calibrator")
    assert pipe.calibrator.settings == pipe.calibrator.maps.settings == tuned.settings
    assert tuned.settings.n_neighbors == 5
    config = nlp.config["components"]["knn_calibrator"]
    assert {name: config[name] for name in PAPER} == {
        name: getattr(tuned.settings, name) for name in PAPER
    }
    assert tuned.chosen.tag_uar > tuned.plain.tag_uar


@pytest.mark.filterwarnings("ignore:.*other settings than those")
def test_what_is_chosen_is_the_best_of_the_grid(model, dev, tmp_path, small_grid):
    """By pipelines, one for each point of the grid, with the maps that were fitted."""
    tuned = tune(str(model), dev, tmp_path / "out", tolerance=0.05)
    nlp, pipe = mapped(model, dev)
    best = tuned.plain.tag_uar
    for knn_weight, transition_weight, tau in product(
        module.KNN_WEIGHTS, module.TRANSITION_WEIGHTS, module.TAUS
    ):
        pipe.calibrator.set_params(
            knn_weight=knn_weight, transition_weight=transition_weight, tau=tau
        )
        scores = evaluate(nlp)
        kept = scores["tag_macro_f"] >= tuned.plain.tag_macro_f - 1e-9
        if kept and scores["ents_f"] >= tuned.plain.ents_f - 0.05:
            best = max(best, scores["tag_uar"])
    assert tuned.chosen.tag_uar == pytest.approx(best)


def mapped(model: Path, dev: Path) -> tuple[spacy.Language, KnnCalibrator]:
    """A calibrator with maps of both sources, as the choice is made with."""
    nlp = spacy.load(model)
    pipe = nlp.get_pipe("knn_calibrator")
    pipe.calibrator.set_params(knn_weight=0.5)
    docs = DocBin().from_disk(dev).get_docs(nlp.vocab)
    pipe.fit_maps(Example(nlp.make_doc(doc.text), doc) for doc in docs)
    return nlp, pipe


def test_nothing_given_up_is_nothing_lost(model, dev, tmp_path, small_grid):
    tuned = tune(str(model), dev, tmp_path / "out", tolerance=0.0)
    assert all(new >= old - 1e-9 for new, old in zip(tuned.chosen, tuned.plain, strict=True))


def test_tells_what_was_chosen(model, dev, tmp_path, small_grid):
    status, output = run(model, dev, tmp_path / "out")
    assert status == 0, output
    chosen = spacy.load(tmp_path / "out").get_pipe("knn_calibrator").calibrator.settings
    assert f"Tuning {model} on {dev}" in output
    assert f"knn_weight {chosen.knn_weight:g} " in output
    assert f"transition_weight {chosen.transition_weight:g} " in output
    assert f"tau {chosen.tau:g} " in output
    assert "argmax tuned" in output
    assert "cross-validated present tuned gain 95% interval" in output
    assert "Settings that are chosen on 4 documents hold badly for others: give 100." in output
    assert "token macro F1" in output
    assert f"Saved to {tmp_path / 'out'}" in output


@pytest.mark.parametrize("clear", [True, False])
def test_advises_to_keep_the_settings_without_a_clear_gain(
    model, dev, tmp_path, small_grid, monkeypatch, clear
):
    monkeypatch.setattr(Validation, "is_clear", clear)
    status, output = run(model, dev, tmp_path / "out")
    assert status == 0, output
    assert (f"No clear gain: keep the present settings of {model}" in output) != clear


def test_errors_are_told_in_a_line(model, trained_path, dev, tmp_path):
    plain = tmp_path / "plain.spacy"
    DocBin(docs=[spacy.blank("en")("fever")]).to_disk(plain)
    out = tmp_path / "out"
    for args, message in (
        ((trained_path, dev, out), "has no fitted knn_calibrator"),
        ((model, plain, out), "has no entity"),
        ((model, tmp_path / "gone.spacy", out), "gone.spacy: no such file"),
        ((model, dev, tmp_path), "exists and holds no pipeline"),
    ):
        status, output = run(*args)
        assert status == 1
        assert message in output
        assert "Traceback" not in output
        assert not out.exists()
