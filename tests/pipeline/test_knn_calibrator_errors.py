"""What a user gets who misuses `knn_calibrator`, and a note that fails."""

import warnings
from dataclasses import replace

import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.training import Example

from spacy_btl.errors import CalibratorError, PipelineError
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.tags import TagScheme
from tests.conftest import PAPER, SENTENCES, make_examples

TEXT = SENTENCES[0][0]
OTHER_TAGS = (
    "'knn_calibrator' with the logits of other tags than it knows.* after the btl_ner pipe 'ner', "
    "and before any other; or be fitted again"
)


@pytest.fixture
def nlp(trained_path) -> Language:
    """transformer > ner > knn_calibrator, unfitted."""
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator")
    return nlp


@pytest.fixture
def pipe(nlp) -> KnnCalibrator:
    return nlp.get_pipe("knn_calibrator")


def entities(doc) -> list[tuple[str, str]]:
    return [(ent.text, ent.label_) for ent in doc.ents]


def test_unfitted_it_lets_entities_pass_and_warns_once(nlp, trained):
    with pytest.warns(UserWarning, match="'knn_calibrator' is not fitted") as caught:
        docs = [nlp(TEXT), *nlp.pipe([TEXT, TEXT])]
    assert len(caught) == 1
    for doc in docs:
        assert entities(doc) == entities(trained(TEXT)) != []
        assert [ent._.confidence for ent in doc.ents] == [None] * len(doc.ents)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_neighbors": 0},
        {"knn_weight": -0.1},
        {"knn_weight": 1.5},
        {"transition_weight": -1.0},
    ],
)
def test_settings_out_of_range(nlp, pipe, wrong):
    message = "needs n_neighbors >= 1, knn_weight from 0 to 1, and transition_weight >= 0"
    with pytest.raises(CalibratorError, match=message):
        nlp.add_pipe("knn_calibrator", name="other", config=wrong)
    before = pipe.calibrator.settings
    with pytest.raises(CalibratorError, match=message):
        pipe.calibrator.set_params(**wrong)
    assert pipe.calibrator.settings == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_neighbors": 1.5},
        {"n_neighbors": True},
        {"knn_weight": True},
        {"knn_weight": "x"},
        {"transition_weight": float("inf")},
        {"min_confidence": 1.5},
        {"min_confidence": None},
        {"min_confidence": {"Sign": 1.5}},
        {"min_confidence": {"Sign": None}},
        {"tau": True},
        {"tau": {"Sign": float("nan")}},
    ],
)
def test_settings_of_another_kind(pipe, wrong):
    with pytest.raises(CalibratorError, match="A calibrator needs"):
        pipe.calibrator.set_params(**wrong)


def test_unfitted_it_reads_the_only_btl_ner_there_is():
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner")
    pipe = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3})
    assert pipe.ner == nlp.config["components"]["knn_calibrator"]["ner"] == "btl_ner"
    nlp.initialize(lambda: make_examples(nlp))
    pipe.fit(make_examples(nlp))
    assert len(pipe.calibrator.datastore.tags)


def test_more_neighbours_than_tokens_to_fit_on(nlp, pipe):
    pipe.calibrator.set_params(n_neighbors=1000)
    with pytest.raises(CalibratorError, match=r"has \d+ annotated tokens .* n_neighbors = 1000"):
        pipe.fit(make_examples(nlp))


def test_more_neighbours_than_the_datastore_has(nlp, pipe):
    pipe.fit(make_examples(nlp))
    n_rows = len(pipe.calibrator.datastore.tags)
    pipe.calibrator.set_params(n_neighbors=n_rows)
    assert nlp(TEXT).has_annotation("ENT_IOB")
    pipe.calibrator.set_params(n_neighbors=n_rows + 1)
    with pytest.raises(CalibratorError, match=rf"n_neighbors = {n_rows + 1}\."):
        nlp(TEXT)


@pytest.mark.parametrize("n_docs", [0, 4])
def test_a_corpus_without_entities(nlp, pipe, n_docs):
    docs = [nlp.make_doc(TEXT) for _ in range(n_docs)]
    with pytest.raises(CalibratorError, match="no entity"):
        pipe.fit(Example.from_dict(doc, {"entities": []}) for doc in docs)


def test_an_entity_type_that_ner_lacks(nlp, pipe):
    example = Example.from_dict(nlp.make_doc(TEXT), {"entities": [(4, 11, "Person")]})
    with pytest.raises(PipelineError, match="'Person', which this model does not know"):
        pipe.fit([example])
    assert "knn_calibrator" in nlp.pipe_names  # enabled again


def test_no_ner_pipe():
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe("knn_calibrator")
    message = "reads the logits of a btl_ner pipe named 'ner', and the pipeline"
    with pytest.raises(CalibratorError, match=message):
        pipe.fit([])
    pipe.calibrator.set_params(**{**PAPER, "knn_weight": 0.0})
    with pytest.raises(CalibratorError, match=message):
        nlp(TEXT)


def test_a_ner_pipe_of_another_kind():
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    pipe = nlp.add_pipe("knn_calibrator")
    with pytest.raises(CalibratorError, match=r"btl_ner pipe named 'ner'.*has none"):
        pipe.fit([])


def test_a_ner_pipe_of_another_name(nlp, pipe):
    pipe.ner = "entities"
    with pytest.raises(CalibratorError, match="btl_ner pipe named 'entities'"):
        pipe.fit(make_examples(nlp))
    nlp.rename_pipe("ner", "entities")
    pipe.fit(make_examples(nlp))
    assert nlp(TEXT).has_annotation("ENT_IOB")


@pytest.mark.parametrize(
    "other", [{"labels": ("Sign", "Test", "Severity", "Value")}, {"labels": ("A", "B", "C", "D")}]
)
def test_labels_unlike_those_of_ner(nlp, pipe, other):
    pipe.fit(make_examples(nlp))
    datastore = replace(pipe.calibrator.datastore, **other)
    pipe.from_bytes(srsly.msgpack_dumps({"datastore": datastore.to_bytes()}))
    with pytest.raises(CalibratorError, match=OTHER_TAGS):
        nlp(TEXT)


def test_a_tag_scheme_unlike_that_of_ner(nlp, pipe):
    pipe.fit(make_examples(nlp))
    doc = nlp(TEXT, disable=[pipe.name])
    labels = nlp.get_pipe("ner").labels
    doc.user_data["btl_ner"]["tags"] = list(TagScheme(labels, "BIO").tags)
    with pytest.raises(CalibratorError, match=OTHER_TAGS):
        pipe(doc)


def test_logits_of_other_labels(nlp, pipe):
    pipe.fit(make_examples(nlp))
    doc = nlp(TEXT)
    doc._.token_logits = doc._.token_logits[:, :3]
    with pytest.raises(CalibratorError, match=OTHER_TAGS):
        pipe(doc)


def test_logits_that_were_cleaned_too_early(nlp, pipe):
    pipe.fit(make_examples(nlp))
    cleaner = {"attrs": {"_.token_logits": None}}
    nlp.add_pipe("doc_cleaner", before="knn_calibrator", config=cleaner)
    message = "without token logits.* before any doc_cleaner"
    with pytest.raises(CalibratorError, match=message):
        nlp(TEXT)
    with pytest.raises(CalibratorError, match=message):
        pipe.fit(make_examples(nlp))


def test_a_calibrator_before_ner(nlp, pipe):
    pipe.fit(make_examples(nlp))
    nlp.remove_pipe("knn_calibrator")
    first = nlp.add_pipe("knn_calibrator", first=True)
    with pytest.raises(CalibratorError, match="must run after the btl_ner pipe 'ner'"):
        first.fit(make_examples(nlp))


def test_a_calibrator_that_left_the_pipeline(nlp, pipe):
    nlp.remove_pipe("knn_calibrator")
    with pytest.raises(CalibratorError, match="is not in the pipeline"):
        pipe.fit(make_examples(nlp))


def test_a_tau_that_names_an_unknown_type(nlp, pipe):
    pipe.fit(make_examples(nlp))
    pipe.calibrator.set_params(tau={"Sign": 1.0, "Nothing": 2.0})
    with pytest.raises(CalibratorError, match=r"tau names the types \['Nothing'\]"):
        nlp(TEXT)


@Language.component("tests_drop_logits_of_aspirin")
def drop_logits_of_aspirin(doc):
    if "aspirin" in doc.text:
        doc._.token_logits = None
    return doc


def test_a_failing_note_goes_alone_to_the_error_handler(nlp, pipe):
    pipe.fit(make_examples(nlp))
    nlp.add_pipe("tests_drop_logits_of_aspirin", before="knn_calibrator")
    failed = []
    nlp.set_error_handler(lambda name, proc, docs, error: failed.append((name, docs, error)))
    texts = [text for text, _ in SENTENCES] * 2
    docs = list(nlp.pipe(texts))
    assert [doc.text for doc in docs] == [text for text in texts if "aspirin" not in text]
    assert all(ent._.confidence is not None for doc in docs for ent in doc.ents)
    assert [(name, len(docs)) for name, docs, _ in failed] == [("knn_calibrator", 1)] * 2
    assert all(isinstance(error, CalibratorError) for _, _, error in failed)
    assert all("aspirin" in docs[0].text for _, docs, _ in failed)


def test_a_note_that_fails_while_fitting_is_left_out(nlp, pipe):
    examples = make_examples(nlp)
    kept = [example for example in examples if "aspirin" not in example.text]
    pipe.fit(kept)
    n_tokens = len(pipe.calibrator.datastore.tags)
    nlp.add_pipe("tests_fail_on_aspirin", before="ner")
    with pytest.raises(ZeroDivisionError):
        pipe.fit(examples)
    nlp.set_error_handler(lambda *args: None)
    pipe.fit(examples)
    assert len(pipe.calibrator.datastore.tags) == n_tokens


@Language.component("tests_fail_on_aspirin")
def fail_on_aspirin(doc):
    return 1 / 0 if "aspirin" in doc.text else doc


def test_fitted_it_warns_of_nothing(nlp, pipe):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe.fit(make_examples(nlp))
        nlp(TEXT)


def test_a_network_that_was_trained_again_is_warned_of(nlp, pipe, tmp_path):
    pipe.fit(make_examples(nlp))
    nlp(TEXT)
    nlp.to_disk(tmp_path / "fitted")
    nlp.update(make_examples(nlp), sgd=nlp.resume_training())
    nlp.to_disk(tmp_path / "trained-again")
    with pytest.warns(UserWarning, match="'knn_calibrator' was fitted to the logits of another"):
        spacy.load(tmp_path / "trained-again")(TEXT)
    again = spacy.load(tmp_path / "trained-again")
    again.get_pipe("knn_calibrator").fit(make_examples(again))
    for whole in (again, spacy.load(tmp_path / "fitted")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            whole(TEXT)


def test_a_calibrator_from_another_pipeline_is_warned_of(nlp, pipe, trained_path):
    """Taken along without its `ner`; fitted there, it belongs there."""
    pipe.fit(make_examples(nlp))
    other = spacy.load(trained_path)
    other.update(make_examples(other), sgd=other.resume_training())
    other.add_pipe("knn_calibrator", source=nlp)
    with pytest.warns(UserWarning, match="taken from another pipeline"):
        other(TEXT)
    other.get_pipe("knn_calibrator").fit(make_examples(other))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        other(TEXT)


def test_replaced_listeners_are_no_other_network(tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": listener}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    nlp.initialize(lambda: make_examples(nlp))
    nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3}).fit(make_examples(nlp))
    nlp.replace_listeners("tok2vec", "ner", ["model.tok2vec"])
    nlp.to_disk(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        spacy.load(tmp_path)(TEXT)


@pytest.mark.parametrize("tau", [float("nan"), float("inf"), {"Sign": float("nan")}], ids=str)
def test_a_tau_that_is_no_number(nlp, pipe, tau):
    message = "needs a tau that is a finite number"
    with pytest.raises(CalibratorError, match=message):
        pipe.calibrator.set_params(tau=tau)
    pipe.fit(make_examples(nlp))
    with pytest.raises(CalibratorError, match=message):
        nlp(TEXT, component_cfg={"knn_calibrator": {"tau": tau}})


def test_tokens_that_were_merged_after_ner(nlp, pipe):
    pipe.fit(make_examples(nlp))

    nlp.add_pipe("tests_merge", before="knn_calibrator")
    with pytest.raises(CalibratorError, match="other tokens than 'ner' read: put 'knn_calibrator'"):
        nlp(TEXT)
    with pytest.raises(CalibratorError, match="other tokens than 'ner' read"):
        pipe.fit(make_examples(nlp))


def test_the_logits_of_another_ner(nlp, pipe):
    """Of as many types: only their names tell."""
    pipe.fit(make_examples(nlp))
    other = nlp.add_pipe("btl_ner", name="other", before="knn_calibrator")
    labels = [f"Other{number}" for number, _ in enumerate(nlp.get_pipe("ner").labels)]
    other.initialize(lambda: make_examples(nlp), labels=labels)
    with pytest.raises(CalibratorError, match="the logits of other tags than it knows"):
        nlp(TEXT)
