"""The mean of several pipelines' weights."""

import pytest
import spacy
import torch
from spacy_transformers.layers.transformer_model import TransformerModel
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.errors import PipelineError
from spacy_btl.pipelines import encoders
from spacy_btl.training.average import average
from tests.conftest import SENTENCES, bert_pipeline, make_tiny_bert, train

pytestmark = pytest.mark.slow  # several trained networks

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def paths(tiny_bert, trained_path, tmp_path_factory):
    """Three pipelines of one encoder: by another loss, and trained for longer."""
    folder = tmp_path_factory.mktemp("networks")
    train(bert_pipeline(tiny_bert, loss={"@losses": "spacy_btl.FocalLoss.v1"})).to_disk(
        folder / "1"
    )
    train(bert_pipeline(tiny_bert), steps=40).to_disk(folder / "2")
    return [str(trained_path), str(folder / "1"), str(folder / "2")]


@pytest.fixture(scope="module")
def averaged(paths, tmp_path_factory):
    output = tmp_path_factory.mktemp("averaged") / "model"
    average(paths, output)
    return spacy.load(output)


def state(nlp):
    """Encoder and head, by torch's and thinc's own means."""
    (encoder,) = encoders(nlp)
    assert isinstance(encoder, TransformerModel)
    (head,) = (layer for layer in nlp.get_pipe("ner").model.walk() if layer.name == "linear")
    return {
        **encoder.transformer.state_dict(),
        **{name: torch.tensor(head.get_param(name)) for name in head.param_names},
    }


def test_every_weight_is_the_mean(paths, averaged):
    states = [state(spacy.load(path)) for path in paths]
    found = state(averaged)
    assert len(found) > 20
    moved = 0
    for name, values in found.items():
        each = torch.stack([state[name].double() for state in states])
        torch.testing.assert_close(values.double(), each.mean(dim=0), rtol=1e-6, atol=1e-7)
        moved += bool((each[0] != each[1]).any())
    assert moved > 20  # the networks differed


def test_an_encoder_of_spacy_transformers_is_averaged_too(tiny_bert, tmp_path):
    """Its shim is not ours, and passes over what it is given as averages."""
    paths = [tmp_path / "1", tmp_path / "2"]
    for seed, path in enumerate(paths):
        nlp = bert_pipeline(tiny_bert)
        nlp.remove_pipe("transformer")
        stock = {
            "@architectures": "spacy-transformers.TransformerModel.v3",
            "name": str(tiny_bert),
            "get_spans": {"@span_getters": "spacy-transformers.doc_spans.v1"},
        }
        nlp.add_pipe("transformer", first=True, config={"model": stock})
        train(nlp, steps=2, seed=seed).to_disk(path)
    average([str(path) for path in paths], tmp_path / "out")
    first, second, mean = (state(spacy.load(path)) for path in (*paths, tmp_path / "out"))
    name = "encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(first[name], second[name])
    torch.testing.assert_close(mean[name], (first[name] + second[name]) / 2)


def test_the_average_finds_what_its_networks_find(averaged):
    for text, entities in SENTENCES:
        found = [(e.start_char, e.end_char, e.label_) for e in averaged(text).ents]
        assert found == entities


def test_the_average_of_one_network_twice_is_that_network(trained_path, tmp_path):
    average([str(trained_path)] * 2, tmp_path / "same")
    before, after = state(spacy.load(trained_path)), state(spacy.load(tmp_path / "same"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_command_saves_a_pipeline_without_the_first_ones_figures(paths, tmp_path):
    first = spacy.load(paths[0])
    first.meta["performance"] = {"ents_f": 1.0}
    first.to_disk(tmp_path / "first")
    command = ["average", str(tmp_path / "first"), *paths[1:], str(tmp_path / "out")]
    result = RUNNER.invoke(btl, command)
    assert result.exit_code == 0, result.output
    assert "3 pipelines" in result.output
    meta = spacy.load(tmp_path / "out").meta
    assert not meta["performance"]
    losses = [loss["@losses"] for loss in meta["averaged"]]
    btl_loss = "spacy_btl.BinaryTokenLabels.v1"
    assert losses == [btl_loss, "spacy_btl.FocalLoss.v1", btl_loss]
    assert not list(tmp_path.glob(".out-*"))


def test_what_cannot_be_averaged_is_refused(paths, calibrated_path, tiny_bert, tmp_path):
    other_scheme = train(bert_pipeline(tiny_bert, scheme="BIO"), steps=0)
    other_scheme.to_disk(tmp_path / "bio")
    wide = make_tiny_bert(tmp_path / "wide", max_wordpieces=72)
    train(bert_pipeline(wide), steps=0).to_disk(tmp_path / "wide-model")
    scaled = bert_pipeline(tiny_bert)
    config = scaled.get_pipe_config("ner")
    scaled.remove_pipe("ner")
    config["model"]["scale"] = 10.0
    del config["factory"]
    scaled.add_pipe("btl_ner", name="ner", config=config)
    train(scaled, steps=0).to_disk(tmp_path / "scaled")
    for models, message in (
        (paths[:1], "two pipelines or more"),
        ([paths[0], str(calibrated_path)], "has a calibrator"),
        ([paths[0], str(tmp_path / "bio")], "entity types, layers"),
        ([paths[0], str(tmp_path / "wide-model")], "entity types, layers"),
        ([paths[0], str(tmp_path / "scaled")], "the scale of the head"),
        ([paths[0], str(tmp_path / "none")], "Cannot load"),
    ):
        with pytest.raises(PipelineError, match=message):
            average(models, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_encoder_that_began_elsewhere_is_refused(paths, tmp_path):
    """Of the same shape, so that only the weights can tell."""
    nlp = spacy.load(paths[1])
    (encoder,) = encoders(nlp)
    torch.manual_seed(1)
    with torch.no_grad():
        for values in encoder.transformer.parameters():
            values.normal_(std=values.std().nan_to_num(0.02).item())
    nlp.to_disk(tmp_path / "elsewhere")
    with pytest.raises(PipelineError, match="too far apart"):
        average([paths[0], str(tmp_path / "elsewhere")], tmp_path / "out")


def test_nothing_but_a_pipeline_is_overwritten(paths, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(PipelineError, match="holds no pipeline"):
        average(paths, tmp_path / "out")
