"""Names of encoders: what looks like a path is one, and is not asked of a hub."""

import os

import pytest

from spacy_btl.errors import PipelineError
from spacy_btl.models import names
from spacy_btl.models.names import check_name
from tests.conftest import bert_pipeline, make_examples


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "assets" / "minilm").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["/gone", "./gone", "../gone", "~/gone", "assets/gone", "gone/", "a/b/c", ".\\gone"],
)
def test_a_path_to_nothing_is_named_at_once(name):
    with pytest.raises(PipelineError, match="is not a folder") as caught:
        check_name(name)
    assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize("name", ["bert-base-uncased", "dmis-lab/biobert-base-cased-v1.1"])
def test_names_of_a_hub_are_asked_there_once(name, monkeypatch):
    asked = []
    monkeypatch.setattr(names, "model_info", lambda name, timeout: asked.append(name))
    check_name(name)
    assert asked == [name]


@pytest.mark.parametrize("error", [ConnectionError("no network"), OSError("404")])
def test_a_name_that_the_hub_does_not_give_is_named_at_once(error, monkeypatch):
    def ask(*args, **kwargs):
        raise error

    monkeypatch.setattr(names, "model_info", ask)
    with pytest.raises(PipelineError, match="'nowhere/x' is not a folder, and the Hugging Face"):
        check_name("nowhere/x")


def test_a_name_that_no_hub_can_have_is_named_at_once():
    with pytest.raises(PipelineError, match="'my encoder' is not a folder"):
        check_name("my encoder")


def test_a_model_in_the_cache_needs_no_hub(monkeypatch, tmp_path):
    monkeypatch.setattr(names, "try_to_load_from_cache", lambda *a, **k: str(tmp_path / "c.json"))
    monkeypatch.setattr(names, "model_info", None)
    check_name("bert-base-uncased")


@pytest.mark.parametrize("name", ["assets/minilm", "./assets/minilm", "assets/minilm/", "assets"])
def test_folders_will_do(name):
    check_name(name)
    check_name(os.path.abspath(name))


def test_a_pipeline_is_not_initialized_with_it_and_no_hub_is_asked(monkeypatch):
    def ask(*args, **kwargs):
        raise AssertionError("a hub was asked")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", ask)
    nlp = bert_pipeline("assets/gone")
    with pytest.raises(PipelineError, match="'assets/gone' is not a folder"):
        nlp.initialize(lambda: make_examples(nlp))


def test_a_saved_pipeline_loads_where_its_encoder_was_not(trained, tmp_path):
    import spacy

    trained.to_disk(tmp_path / "model")
    config = (tmp_path / "model" / "config.cfg").read_text()
    name = trained.config["components"]["transformer"]["model"]["name"]
    (tmp_path / "model" / "config.cfg").write_text(config.replace(name, "./gone"))
    spacy.load(tmp_path / "model")
