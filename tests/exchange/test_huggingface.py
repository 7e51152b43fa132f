"""Round trips with transformers itself as the judge."""

import json
import shutil

import numpy as np
import pytest
import spacy
import torch
from transformers import pipeline

from spacy_btl.errors import PipelineError
from spacy_btl.exchange import huggingface
from spacy_btl.exchange.huggingface import export_hf, import_hf
from spacy_btl.pipelines import fingerprint
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.ensemble import ensemble
from tests.conftest import SENTENCES, bert_pipeline, make_examples, train
from tests.exchange.checkpoints import make_classifier, save_checkpoint, token_logits

TEXT = SENTENCES[0][0]


@pytest.fixture(scope="module", params=["IO", "BIO"])
def pipeline_path(request, tiny_bert, tmp_path_factory):
    path = tmp_path_factory.mktemp("pipeline") / "model"
    train(bert_pipeline(tiny_bert, scheme=request.param)).to_disk(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(pipeline_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "checkpoint"
    export_hf(str(pipeline_path), path)
    return path


def test_logits_of_the_checkpoint_are_ours(pipeline_path, checkpoint):
    doc = spacy.load(pipeline_path)(TEXT)
    np.testing.assert_allclose(token_logits(checkpoint, doc), doc._.token_logits, rtol=0, atol=1e-5)


def test_another_training_starts_from_its_encoder(pipeline_path, checkpoint):
    trained = spacy.load(pipeline_path)
    nlp = bert_pipeline(checkpoint)
    nlp.initialize(lambda: make_examples(nlp))
    before, after = (
        p.get_pipe("transformer").model.transformer.state_dict() for p in (trained, nlp)
    )
    for name in before.keys() - {"pooler.dense.weight", "pooler.dense.bias"}:  # nothing uses it
        assert torch.equal(before[name], after[name]), name


def test_it_runs_in_a_pipeline_of_transformers(pipeline_path, checkpoint):
    classify = pipeline("token-classification", str(checkpoint), aggregation_strategy="simple")
    nlp = spacy.load(pipeline_path)
    found = [
        (text, entity["start"], entity["end"], entity["entity_group"])
        for text, _ in SENTENCES
        for entity in classify(text)
    ]
    ours = [
        (text, ent.start_char, ent.end_char, ent.label_)
        for text, _ in SENTENCES
        for ent in nlp(text).ents
    ]
    assert found == ours != []


def test_a_checkpoint_comes_back_with_the_same_logits(pipeline_path, checkpoint, tmp_path):
    back = import_hf(checkpoint, tmp_path / "back", window=48, overlap=8)
    ours = spacy.load(pipeline_path)
    for nlp in (back, spacy.load(tmp_path / "back")):
        for text, _ in SENTENCES:
            one, other = nlp(text), ours(text)
            # The types of the checkpoint are sorted, ours are too.
            np.testing.assert_allclose(one._.token_logits, other._.token_logits, rtol=0, atol=1e-5)
            assert [str(ent) for ent in one.ents] == [str(ent) for ent in other.ents]
    assert str(checkpoint.parent) not in (tmp_path / "back" / "config.cfg").read_text()


def test_a_calibrator_can_be_fitted_to_it(checkpoint, corpus_path, tmp_path):
    import_hf(checkpoint, tmp_path / "back", window=48, overlap=8)
    nlp = calibrate(
        str(tmp_path / "back"), corpus_path, tmp_path / "calibrated", settings={"n_neighbors": 3}
    )
    ents = [ent for text, _ in SENTENCES for ent in nlp(text).ents]
    assert ents
    assert all(0 < ent._.confidence <= 1 for ent in ents)
    # The checkpoint does not say how frequent the tags are: the corpus does.
    datastore = nlp.get_pipe("knn_calibrator").calibrator.datastore
    counts = np.bincount(datastore.tags, minlength=len(datastore.prior)) + 1
    np.testing.assert_allclose(datastore.prior, counts / counts.sum())
    assert datastore.prior.argmax() == 0


def edit_labels(checkpoint, folder, labels):
    """A copy of a checkpoint with other labels."""
    folder.mkdir()
    for file in checkpoint.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {str(number): label for number, label in enumerate(labels)}
    config["label2id"] = {label: number for number, label in enumerate(labels)}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_labels_in_any_order_find_their_column(trained_path, tmp_path):
    export_hf(str(trained_path), tmp_path / "checkpoint")
    n_labels = len(spacy.load(trained_path).get_pipe("ner").tag_scheme)
    labels = [f"T{number}" for number in range(n_labels)]
    labels[-1] = "O"
    folder = edit_labels(tmp_path / "checkpoint", tmp_path / "other", labels)
    nlp = import_hf(folder, tmp_path / "back", window=48, overlap=8)
    assert nlp.get_pipe("ner").labels == tuple(labels[:-1])
    ours = spacy.load(trained_path)(TEXT)._.token_logits
    expected = np.concatenate([ours[:, -1:], ours[:, :-1]], axis=1)
    np.testing.assert_allclose(nlp(TEXT)._.token_logits, expected, rtol=0, atol=1e-5)


def test_what_is_no_checkpoint_is_refused(tiny_bert, tmp_path):
    with pytest.raises(PipelineError, match="no checkpoint here"):
        import_hf(tmp_path, tmp_path / "out")
    with pytest.raises(PipelineError, match="its head is missing"):
        import_hf(tiny_bert, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_refused(trained_path, tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(PipelineError, match="no btl_ner"):
        export_hf(str(tmp_path / "blank"), tmp_path / "out")
    ensemble([str(trained_path)] * 2, tmp_path / "ensemble")
    with pytest.raises(PipelineError, match="an ensemble of 2 encoders"):
        export_hf(str(tmp_path / "ensemble"), tmp_path / "out")
    with pytest.raises(PipelineError, match="exists"):
        export_hf(str(trained_path), tmp_path / "blank")
    assert not (tmp_path / "out").exists()


def test_an_export_whose_logits_would_be_others_leaves_nothing(tiny_bert, tmp_path):
    nlp = bert_pipeline(tiny_bert)
    nlp.config["components"]["ner"]["model"]["tok2vec"]["pooling"]["@layers"] = "reduce_sum.v1"
    nlp = spacy.blank("en").from_config(nlp.config)
    train(nlp, steps=1).to_disk(tmp_path / "model")
    with pytest.raises(PipelineError, match="do not have the same logits") as refusal:
        export_hf(str(tmp_path / "model"), tmp_path / "new" / "out")
    assert str(tmp_path / "model") in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_an_import_whose_logits_would_be_others_keeps_the_old_pipeline(
    pipeline_path, checkpoint, tmp_path, monkeypatch
):
    shutil.copytree(pipeline_path, tmp_path / "model")
    before = fingerprint(tmp_path / "model")
    set_head = huggingface._set_head

    def set_another(ner, linear, ids):
        set_head(ner, linear, [*ids[:-2], ids[-1], ids[-2]])

    monkeypatch.setattr(huggingface, "_set_head", set_another)
    with pytest.raises(PipelineError, match="do not have the same logits"):
        import_hf(checkpoint, tmp_path / "model", window=48, overlap=8)
    with pytest.raises(PipelineError, match="do not have the same logits"):
        import_hf(checkpoint, tmp_path / "new" / "other", window=48, overlap=8)
    assert fingerprint(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_pipeline_that_predicts_in_bfloat16_is_compared_in_float32(
    tiny_bert, tmp_path, monkeypatch
):
    monkeypatch.setattr("spacy_btl.models.passes.cpu_has_bfloat16", lambda: True)
    nlp = bert_pipeline(tiny_bert, encoder={"predict_bfloat16": True, "mixed_precision": True})
    train(nlp, steps=1).to_disk(tmp_path / "model")
    rough = spacy.load(tmp_path / "model")(TEXT)
    export_hf(str(tmp_path / "model"), tmp_path / "out")
    assert np.abs(token_logits(tmp_path / "out", rough) - rough._.token_logits).max() > 1e-4
    exact = {"components.transformer.model.predict_bfloat16": False}
    doc = spacy.load(tmp_path / "model", config=exact)(TEXT)
    assert np.abs(token_logits(tmp_path / "out", doc) - doc._.token_logits).max() < 1e-4


def test_the_head_s_scale_is_in_the_checkpoint(tiny_bert, tmp_path):
    nlp = bert_pipeline(tiny_bert)
    nlp.config["components"]["ner"]["model"]["scale"] = 10.0
    nlp = train(spacy.blank("en").from_config(nlp.config), steps=1)
    nlp.to_disk(tmp_path / "model")
    export_hf(str(tmp_path / "model"), tmp_path / "out")
    doc = nlp(TEXT)
    assert np.abs(token_logits(tmp_path / "out", doc) - doc._.token_logits).max() < 1e-4


@pytest.mark.parametrize(("window", "overlap"), [(12, 0), (64, 16)])
def test_tags_that_the_checkpoint_lacks_never_win_and_windows_may_be_small(
    window, overlap, tmp_path
):
    labels = ["B-Age", "O", "B-Sign", "I-Sign"]
    folder = save_checkpoint(tmp_path / "c", make_classifier("bert", labels=labels))
    nlp = import_hf(folder, tmp_path / "out", window=window, overlap=overlap)
    assert nlp.get_pipe("ner").tag_scheme.tags == ("O", "B-Age", "I-Age", "B-Sign", "I-Sign")
    doc = nlp("severe fever")
    assert (doc._.token_logits[:, 2] == -1e4).all()
    expected = token_logits(folder, doc)[:, [1, 0, 2, 3]]
    np.testing.assert_allclose(doc._.token_logits[:, [0, 1, 3, 4]], expected, rtol=0, atol=1e-5)


def test_a_folder_of_something_else_is_left_alone(checkpoint, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    with pytest.raises(PipelineError, match="holds no pipeline"):
        import_hf(checkpoint, tmp_path / "thesis", window=48, overlap=8)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "x"


def test_a_language_that_spacy_lacks_is_a_clear_error(checkpoint, tmp_path):
    with pytest.raises(PipelineError, match="no tokenizer for the language 'qq'"):
        import_hf(checkpoint, tmp_path / "back", lang="qq", window=48, overlap=8)


def test_labels_that_a_config_could_not_have_as_keys_come_back(trained_path, tmp_path):
    export_hf(str(trained_path), tmp_path / "checkpoint")
    labels = ["O", "#drug", "UMLS:T047", "a=b", "[x]"]
    renamed = edit_labels(tmp_path / "checkpoint", tmp_path / "renamed", labels)
    import_hf(renamed, tmp_path / "back", window=48, overlap=8)
    nlp = spacy.load(tmp_path / "back")
    assert set(nlp.get_pipe("ner").labels) == set(labels[1:])
    assert nlp(SENTENCES[0][0])._.token_logits.shape[1] == len(labels)
