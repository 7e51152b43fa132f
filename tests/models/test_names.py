"""Names of encoders: what looks like a path is one, and is not asked of a hub."""

import os

import pytest

from spacy_btl.errors import PipelineError
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
    with pytest.raises(PipelineError, match="is no folder here") as caught:
        check_name(name)
    assert f"'{name}'" in str(caught.value)


@pytest.mark.parametrize("name", ["bert-base-uncased", "dmis-lab/biobert-base-cased-v1.1"])
def test_names_of_a_hub_are_none(name):
    check_name(name)


@pytest.mark.parametrize("name", ["assets/minilm", "./assets/minilm", "assets/minilm/", "assets"])
def test_folders_will_do(name):
    check_name(name)
    check_name(os.path.abspath(name))


def test_a_pipeline_is_not_initialized_with_it_and_no_hub_is_asked(monkeypatch):
    def ask(*args, **kwargs):
        raise AssertionError("a hub was asked")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", ask)
    nlp = bert_pipeline("assets/gone")
    with pytest.raises(PipelineError, match="'assets/gone' is no folder here"):
        nlp.initialize(lambda: make_examples(nlp))


def test_a_saved_pipeline_loads_where_its_encoder_was_not(trained, tmp_path):
    import spacy

    trained.to_disk(tmp_path / "model")
    config = (tmp_path / "model" / "config.cfg").read_text()
    name = trained.config["components"]["transformer"]["model"]["name"]
    (tmp_path / "model" / "config.cfg").write_text(config.replace(name, "./gone"))
    spacy.load(tmp_path / "model")
