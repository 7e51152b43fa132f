"""Several networks in one pipeline: the mean of their logits."""

import numpy as np
import pytest
import spacy
import torch
from torch.nn import Linear
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.errors import PipelineError
from spacy_btl.models import passes as passes_module
from spacy_btl.pipelines import encoders
from spacy_btl.training.ensemble import ensemble
from tests.conftest import SENTENCES, bert_pipeline, make_examples, make_tiny_bert, step, train
from tests.models.test_encoder import long_note

pytestmark = pytest.mark.slow  # several trained networks

RUNNER = CliRunner()
NOTES = [*(text for text, _ in SENTENCES), "", " ", "fever   today", long_note(200).text]


@pytest.fixture(scope="module")
def paths(trained_path, tmp_path_factory):
    """Three networks: one is of another loss, scale and encoder, one has no encoder to share."""
    folder = tmp_path_factory.mktemp("networks")
    wide = make_tiny_bert(folder / "bert", max_wordpieces=72)
    other = bert_pipeline(wide, loss={"@losses": "spacy_btl.FocalLoss.v1"})
    config = other.get_pipe_config("ner")
    config["model"]["scale"] = 4.0
    del config["factory"]
    other.replace_pipe("ner", "btl_ner", config=config)
    train(other, seed=1).to_disk(folder / "1")
    plain = spacy.blank("en")
    plain.add_pipe("btl_ner", name="ner")
    train(plain).to_disk(folder / "2")
    return [str(trained_path), str(folder / "1"), str(folder / "2")]


@pytest.fixture(scope="module")
def joined_path(paths, tmp_path_factory):
    output = tmp_path_factory.mktemp("ensemble") / "model"
    ensemble(paths, output)
    return output


def test_its_logits_are_the_means_of_its_networks(paths, joined_path):
    networks, joined = [spacy.load(path) for path in paths], spacy.load(joined_path)
    for note in NOTES:
        each = np.array([network(note)._.token_logits for network in networks])
        seen = each.any(axis=2).all(axis=0)
        found = joined(note)._.token_logits
        np.testing.assert_allclose(found[seen], each.mean(axis=0)[seen], atol=1e-5)
    assert seen.sum() > 100
    assert joined.pipe_names == ["ner"]
    assert len(list(encoders(joined))) == 2


def test_the_settings_of_an_encoder_are_where_the_page_says(joined_path, monkeypatch):
    monkeypatch.setattr(passes_module, "cpu_has_bfloat16", lambda: True)
    setting = "components.ner.model.tok2vec.*.network_1.encoder.predict_bfloat16"
    nlp = spacy.load(joined_path, config={setting: True})
    seen = []
    for encoder in encoders(nlp):
        layers = (part for part in encoder.transformer.modules() if isinstance(part, Linear))
        next(layers).register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    nlp("no fever")
    assert seen == [torch.bfloat16, torch.float32]


def test_what_no_encoder_saw_is_still_unseen(paths, tmp_path):
    ensemble(paths[:2], tmp_path / "model")
    doc = spacy.load(tmp_path / "model")("fever   today")
    assert doc[1].is_space
    assert doc._.token_logits.any(axis=1).tolist() == [True, False, True]


def test_it_finds_what_its_networks_find(joined_path):
    joined = spacy.load(joined_path)
    for text, entities in SENTENCES:
        assert [(e.start_char, e.end_char, e.label_) for e in joined(text).ents] == entities


def test_an_encoder_that_another_pipe_listens_to_stays(paths, tmp_path):
    nlp = spacy.load(paths[0])
    nlp.add_pipe("btl_ner", name="other", config={"model": nlp.get_pipe_config("ner")["model"]})
    nlp.remove_pipe("ner")
    nlp.add_pipe("textcat", config={"model": listening_textcat(nlp)})
    first = train_with_categories(nlp)
    first.to_disk(tmp_path / "first")
    ensemble([str(tmp_path / "first"), paths[1]], tmp_path / "model")
    joined = spacy.load(tmp_path / "model")
    assert joined.pipe_names == ["transformer", "other", "textcat"]
    each = [spacy.load(path)("severe pain") for path in (tmp_path / "first", paths[1])]
    doc = joined("severe pain")
    assert doc.cats == pytest.approx(each[0].cats)
    mean = np.mean([one._.token_logits for one in each], axis=0)
    np.testing.assert_allclose(doc._.token_logits, mean, atol=1e-5)


def listening_textcat(nlp):
    listener = nlp.get_pipe_config("other")["model"]["tok2vec"]
    return {
        "@architectures": "spacy.TextCatReduce.v1",
        "tok2vec": listener,
        "nO": None,
        "exclusive_classes": True,
        "use_reduce_first": False,
        "use_reduce_last": False,
        "use_reduce_max": False,
        "use_reduce_mean": True,
    }


def train_with_categories(nlp):
    def examples():
        made = make_examples(nlp)
        for number, example in enumerate(made):
            example.reference.cats = {"odd": float(number % 2), "even": float(1 - number % 2)}
        return made

    optimizer = nlp.initialize(examples)
    step(nlp, examples(), optimizer)
    return nlp


def test_it_is_calibrated_and_trained_on_like_one_network(joined_path, tmp_path):
    nlp = spacy.load(joined_path)
    calibrator = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3})
    calibrator.fit(make_examples(nlp))
    assert nlp(SENTENCES[0][0]).ents[0]._.confidence is not None
    before = [encoder.transformer.state_dict() for encoder in encoders(nlp)]
    before = [{name: values.clone() for name, values in one.items()} for one in before]
    nlp = spacy.load(joined_path)
    optimizer = nlp.resume_training()
    step(nlp, make_examples(nlp), optimizer)
    name = "encoder.layer.0.attention.self.query.weight"
    for encoder, old in zip(encoders(nlp), before, strict=True):
        assert not encoder.transformer.state_dict()[name].equal(old[name])


def test_the_command_saves_a_pipeline_without_the_first_ones_figures(paths, tmp_path):
    first = spacy.load(paths[0])
    first.meta["performance"] = {"ents_f": 1.0}
    first.to_disk(tmp_path / "first")
    command = ["ensemble", str(tmp_path / "first"), *paths[1:], str(tmp_path / "out")]
    result = RUNNER.invoke(btl, command)
    assert result.exit_code == 0, result.output
    assert "3 pipelines" in result.output
    meta = spacy.load(tmp_path / "out").meta
    assert not meta["performance"]
    losses = [loss["@losses"] for loss in meta["ensemble"]]
    btl_loss = "spacy_btl.BinaryTokenLabels.v1"
    assert losses == [btl_loss, "spacy_btl.FocalLoss.v1", btl_loss]


def test_what_cannot_be_one_is_refused(paths, calibrated_path, tiny_bert, tmp_path):
    train(bert_pipeline(tiny_bert, scheme="BIO"), steps=0).to_disk(tmp_path / "bio")
    spacy.blank("en").to_disk(tmp_path / "blank")
    layered = bert_pipeline(tiny_bert)
    config = layered.get_pipe_config("ner")
    encode = {"width": 32, "window_size": 1, "maxout_pieces": 2, "depth": 1}
    config["model"]["tok2vec"] = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": config["model"]["tok2vec"],
        "encode": {"@architectures": "spacy.MaxoutWindowEncoder.v2", **encode},
    }
    del config["factory"]
    layered.replace_pipe("ner", "btl_ner", config=config)
    train(layered, steps=0).to_disk(tmp_path / "layered")
    for models, message in (
        (paths[:1], "two pipelines or more"),
        ([paths[0], str(calibrated_path)], "has a calibrator"),
        ([paths[0], str(tmp_path / "bio")], "their tag scheme"),
        ([paths[0], str(tmp_path / "blank")], "exactly one btl_ner"),
        ([paths[0], str(tmp_path / "layered")], "layers over the listener to 'transformer'"),
        ([paths[0], str(tmp_path / "none")], "Cannot load"),
    ):
        with pytest.raises(PipelineError, match=message):
            ensemble(models, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(PipelineError, match="holds no pipeline"):
        ensemble(paths, tmp_path / "out")
