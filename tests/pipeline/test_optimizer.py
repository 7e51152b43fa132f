"""What spaCy does with a config, and with what was trained from it, beside `spacy train`."""

from pathlib import Path

import pytest
import spacy
from spacy import util
from spacy.cli._util import app
from spacy.training.initialize import init_nlp
from typer.testing import CliRunner

from tests.conftest import make_examples

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.cfg"))


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def config(request) -> Path:
    return request.param


@pytest.fixture(scope="module")
def overrides(tiny_bert, corpus_path) -> dict:
    return {
        "paths.train": str(corpus_path),
        "paths.dev": str(corpus_path),
        "paths.encoder": str(tiny_bert),
        "components.transformer.model.window": 48,
        "components.transformer.model.overlap": 8,
        "training.max_steps": 7,
        "training.max_epochs": 0,
    }


@pytest.fixture(scope="module")
def saved(config, overrides, tmp_path_factory) -> Path:
    """What `spacy train` saves before its first step."""
    nlp = init_nlp(util.load_config(config, overrides=overrides, interpolate=False))
    path = tmp_path_factory.mktemp("saved") / "model"
    nlp.to_disk(path)
    return path


@pytest.mark.parametrize("command", [["data"], ["model"]], ids=lambda words: words[0])
def test_spacy_debugs_it(config, overrides, command):
    words = [f"--{name}={value}" for name, value in overrides.items()]
    pipe = ["ner"] if command == ["model"] else []
    result = CliRunner().invoke(app, ["debug", *command, str(config), *pipe, *words])
    expected = "Corpus is loadable" if command == ["data"] else "model looks good"
    assert expected in result.output, result.output


def test_the_schedule_follows_the_number_of_steps_that_is_given(config, saved):
    training = spacy.load(saved).config["training"]
    schedule = training["optimizer"]["learn_rate"]
    if isinstance(schedule, dict):
        assert schedule["total_steps"] == 7
    assert training["max_steps"] == 7


CALLS = {
    "resume_training": lambda nlp: nlp.resume_training(),
    "update": lambda nlp: nlp.update(make_examples(nlp)),
    "rehearse": lambda nlp: nlp.rehearse(make_examples(nlp)),
    "initialize": lambda nlp: nlp.initialize(),
    "initialize with examples": lambda nlp: nlp.initialize(lambda: make_examples(nlp)),
    "create_optimizer": lambda nlp: nlp.create_optimizer(),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_trained_pipeline_goes_on_training(saved, call):
    nlp = spacy.load(saved)
    labels = nlp.get_pipe("ner").labels
    CALLS[call](nlp)
    assert nlp.get_pipe("ner").labels == labels
    if call != "initialize":
        assert nlp.get_pipe("ner").tag_counts.sum() > 0
