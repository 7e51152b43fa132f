"""Round trips with transformers itself as the judge."""

import json

import numpy as np
import pytest
import spacy
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.huggingface import export_hf, import_hf
from spacy_btl.exchange.labels import from_labels, to_labels
from spacy_btl.pipeline.calibrate import calibrate
from spacy_btl.pipeline.ensemble import ensemble
from spacy_btl.tags import TagScheme
from tests.conftest import SENTENCES, bert_pipeline, make_examples, train

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


def token_logits(doc, logits, offsets):
    """The mean over the wordpieces of each token."""
    return np.array(
        [
            np.mean(
                [
                    row
                    for row, (start, end) in zip(logits, offsets, strict=True)
                    if start < end and token.idx <= start < token.idx + len(token)
                ],
                axis=0,
            )
            for token in doc
        ]
    )


def test_logits_of_the_checkpoint_are_ours(pipeline_path, checkpoint):
    doc = spacy.load(pipeline_path)(TEXT)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    encoding = tokenizer(TEXT, return_tensors="pt", return_offsets_mapping=True)
    offsets = encoding.pop("offset_mapping")[0].tolist()
    model = AutoModelForTokenClassification.from_pretrained(checkpoint).eval()
    with torch.inference_mode():
        logits = model(**encoding).logits[0].numpy()
    np.testing.assert_allclose(
        token_logits(doc, logits, offsets), doc._.token_logits, rtol=0, atol=1e-5
    )


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
    store = nlp.get_pipe("knn_calibrator").store
    counts = np.bincount(store.tags, minlength=len(store.prior)) + 1
    np.testing.assert_allclose(store.prior, counts / counts.sum())
    assert store.prior.argmax() == 0


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


@pytest.mark.parametrize(
    ("scheme", "types"), [("IO", ["A", "B-cell"]), ("BIO", ["A", "B-cell", "X"])]
)
def test_labels_of_our_tags_are_read_as_our_tags(scheme, types):
    tags = TagScheme(types, scheme)
    back, ids = from_labels(dict(enumerate(to_labels(tags))))
    assert (back.tags, back.scheme) == (tags.tags, scheme)
    assert ids == list(range(len(tags)))


def test_plain_labels_are_io_and_a_type_without_inside_is_known():
    assert from_labels({0: "Sign", 1: "O", 2: "Age"})[0].tags == ("O", "Age", "Sign")
    scheme, ids = from_labels({0: "O", 1: "B-Age", 2: "B-Sign", 3: "I-Sign"})
    assert scheme.tags == ("O", "B-Age", "I-Age", "B-Sign", "I-Sign")
    assert ids == [0, 1, None, 2, 3]


@pytest.mark.parametrize(
    "labels",
    [["LABEL_0", "LABEL_1"], ["O"], ["O", "O", "A"], ["O", "B-A", "E-A", "S-A"], ["O", "I-A", "B"]],
)
def test_other_labels_are_refused(labels):
    with pytest.raises(PipelineError, match="labels of the checkpoint"):
        from_labels(dict(enumerate(labels)))


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
