"""`guarantee`: what is certified is what the saved pipeline does, and nothing else is promised."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import GuaranteeError, PipelineError
from spacy_btl.guarantee.asked import Asked, read_levels
from spacy_btl.guarantee.bounds import p_value
from spacy_btl.guarantee.choosing import Notes, choose_settings
from spacy_btl.guarantee.guarantee import guarantee_pipeline
from spacy_btl.guarantee.promises import META, read_promises
from spacy_btl.guarantee.tally import losses, tally
from spacy_btl.metrics.matching import count_overlaps
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.tune import tune
from tests.conftest import make_corpus
from tests.pipeline.test_overlapping import NOTES, reference
from tests.training.test_trained_on import long_docs

SENTENCES = [
    ("the fever was severe", [(4, 9, "Sign"), (14, 20, "Severity")]),
    ("no cough , mild pain in the chest", [(3, 8, "Sign"), (11, 15, "Severity"), (16, 20, "Sign")]),
    ("crp was 12 mg / l and note a", [(0, 3, "Test"), (8, 17, "Value")]),
    ("left arm , a b c fever", [(17, 22, "Sign")]),
    ("aspirin daily and pain", [(18, 22, "Sign")]),
    ("patient had cough of 3", [(12, 17, "Sign")]),
]


def unseen(nlp: Language, n: int) -> list[Doc]:
    """Notes like those of the training, in part, so that some mentions are not found."""
    docs = make_corpus(nlp, repeat=n // 12, ending=" today")
    for number in range(n - len(docs)):
        text, entities = SENTENCES[number % len(SENTENCES)]
        doc = nlp.make_doc(text + " ," * (number // len(SENTENCES)))
        docs.append(Example.from_dict(doc, {"entities": entities}).reference)
    return docs


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "unseen.spacy"
    write_docs(path, unseen(spacy.blank("en"), 120))
    return path


@pytest.fixture(scope="module")
def model(trained_path, corpus_path, held_out_path, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("calibrated") / "model"
    settings = {"n_neighbors": 3, "min_confidence": 0.1}
    calibrate(str(trained_path), corpus_path, path, settings=settings, held_out=held_out_path)
    return path


@pytest.fixture(scope="module")
def overlapping(overlapping_path, tmp_path_factory) -> tuple[Path, Path]:
    """A pipeline with `spans_key` and maps, and notes that it never had."""
    folder = tmp_path_factory.mktemp("overlapping")
    nlp = spacy.blank("en")
    for name, n, ending in (("gold", 2, ""), ("held_out", 2, " note"), ("unseen", 30, " today")):
        docs = [
            reference(nlp, text + ending + " ." * i, mentions)
            for i in range(n)
            for text, mentions in NOTES
        ]
        write_docs(folder / f"{name}.spacy", docs)
    calibrate(
        str(overlapping_path),
        folder / "gold.spacy",
        folder / "model",
        settings={"n_neighbors": 3},
        held_out=folder / "held_out.spacy",
    )
    return folder / "model", folder / "unseen.spacy"


def shares(nlp: Language, corpus: Path, label: str, kind: str, key: str = "") -> list[float]:
    """Document by document, by running the pipeline: the share of gold mentions of a type that are
    found, or of predicted ones that are right."""
    found = []
    docs = list(spacy.tokens.DocBin().from_disk(corpus).get_docs(nlp.vocab))
    for gold, doc in zip(docs, nlp.pipe([doc.text for doc in docs]), strict=True):
        both = [
            [
                (span.start_char, span.end_char)
                for span in (one.spans[name] if name else one.ents)
                if span.label_ == label
            ]
            for one, name in ((gold, "mentions" if key else ""), (doc, key))
        ]
        whole = len(both[kind == "precision"])
        if whole:
            found.append(count_overlaps(*both) / whole)
    return found


def test_recall_is_certified_of_what_the_saved_pipeline_finds(model, notes, tmp_path):
    chosen = guarantee_pipeline(
        str(model), notes, tmp_path / "out", recall={"Sign": 0.7, "Severity": 0.4}
    )
    nlp = spacy.load(tmp_path / "out")
    for one in chosen:
        seen = shares(nlp, notes, one.label, "recall")
        assert (one.documents, one.seen) == (len(seen), pytest.approx(np.mean(seen)))
        assert one.seen > one.level
        assert one.after[0] >= one.before[0]
    settings = nlp.get_pipe("knn_calibrator").calibrator.settings
    assert settings.tau["Sign"] == chosen[0].tau >= 0.15
    assert settings.tau["Test"] == settings.tau["O"] == 0.15
    assert settings.min_confidence == {"Sign": 0.0, "Severity": 0.0, "Test": 0.1, "Value": 0.1}


def test_the_confidence_of_entities_is_fitted_to_the_new_tau(model, notes, tmp_path, recwarn):
    guarantee_pipeline(str(model), notes, tmp_path / "out", recall={"Sign": 0.7})
    nlp = spacy.load(tmp_path / "out")
    calibrator = nlp.get_pipe("knn_calibrator").calibrator
    assert calibrator.maps.settings == calibrator.settings
    assert (
        calibrator.maps.tokens
        == spacy.load(model).get_pipe("knn_calibrator").calibrator.maps.tokens
    )
    assert nlp("pain in the left arm").ents[0]._.confidence > 0
    assert not [one for one in recwarn if "calibrated" in str(one.message)]


def test_precision_is_certified_of_what_the_saved_pipeline_predicts(model, notes, tmp_path):
    (one,) = guarantee_pipeline(str(model), notes, tmp_path / "out", precision={"Sign": 0.6})
    nlp = spacy.load(tmp_path / "out")
    seen = shares(nlp, notes, "Sign", "precision")
    assert (one.documents, one.seen) == (len(seen), pytest.approx(np.mean(seen)))
    settings = nlp.get_pipe("knn_calibrator").calibrator.settings
    assert settings.min_confidence["Sign"] == one.min_confidence >= 0.1
    assert settings.min_confidence["Test"] == 0.1
    assert settings.tau == 0.15


def test_mentions_that_overlap_have_a_setting_for_each_type(overlapping, tmp_path):
    model, notes = overlapping
    asked = {"recall": {"Sign": 0.8, "Negation": 0.5}, "precision": {"Value": 0.7}}
    chosen = guarantee_pipeline(str(model), notes, tmp_path / "out", **asked)
    nlp = spacy.load(tmp_path / "out")
    for one in chosen:
        seen = shares(nlp, notes, one.label, one.kind, "btl")
        assert (one.documents, one.seen) == (len(seen), pytest.approx(np.mean(seen)))
    alone = guarantee_pipeline(str(model), notes, tmp_path / "alone", recall={"Sign": 0.8})
    assert replace(alone[0], tau=0, min_confidence=0) == replace(chosen[0], tau=0, min_confidence=0)
    assert [str(one) for one in read_promises(nlp)][1].startswith(
        "recall of Negation at least 50.0%, with probability 95.0%: by 30 documents of "
    )


def test_the_cheapest_certified_setting_is_taken(model, notes, tmp_path):
    """A higher level has a setting that costs more, and each has a p-value below the risk."""
    nlp = spacy.load(model)
    pipe = nlp.get_pipe("knn_calibrator")
    docs = list(spacy.tokens.DocBin().from_disk(notes).get_docs(nlp.vocab))
    held_out = pipe.read_held_out(Example(nlp.make_doc(doc.text), doc) for doc in docs)
    p = pipe.calibrator.predict_proba(held_out.logits)
    data = Notes(held_out, p, np.arange(len(docs)), "unseen.spacy")
    before = pipe.calibrator.settings
    levels = []
    for level in (0.5, 0.7, 0.85):
        pipe.calibrator.settings = before
        (one,) = choose_settings(pipe.calibrator, data, Asked({"Sign": level}, {}, 0.05, "overlap"))
        runs = pipe.calibrator.find_entities(p, held_out.words).runs
        sign = pipe.calibrator.datastore.tag_scheme.types.index("Sign")
        counts = tally(held_out, runs, [sign], data.documents, "overlap")
        assert p_value(losses(counts[:, 0], "recall"), 1 - level, 0.05) <= 0.05
        levels.append(one.tau)
    assert levels == sorted(levels)
    assert len(set(levels)) > 1
    assert max(levels) > 0.15


def test_what_cannot_be_certified_is_not_promised(model, notes, tmp_path):
    with pytest.raises(GuaranteeError) as error:
        guarantee_pipeline(str(model), notes, tmp_path / "out", recall={"Value": 0.99})
    told = str(error.value)
    assert "recall of Value: 99.0% cannot be promised by 23 documents with annotated" in told
    assert "of 120 in unseen.spacy" in told
    assert "% can be promised today" in told
    assert not (tmp_path / "out").exists()
    today = float(told.split("% can be promised")[0].split()[-1]) / 100
    (one,) = guarantee_pipeline(str(model), notes, tmp_path / "out", recall={"Value": today})
    assert one.seen > today
    with pytest.raises(GuaranteeError, match=r"About \d+ more notes? like these would do"):
        guarantee_pipeline(str(model), notes, tmp_path / "b", recall={"Value": today + 0.02})


def few(model: Path, n: int, folder: Path, **asked) -> None:
    docs = unseen(spacy.blank("en"), 120)[:n]
    write_docs(folder / "few.spacy", docs)
    guarantee_pipeline(str(model), folder / "few.spacy", folder / "out", **asked)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"recall": {"Sign": 1.0}}, "Sign: 1 is not between 0 and 1"),
        ({"precision": {"Sign": 0.0}}, "Sign: 0 is not between 0 and 1"),
        ({"recall": {"Sign": float("nan")}}, "Sign: nan is not between"),
        ({"recall": {"Sign": 0.9}, "risk": 1.0}, "the risk: 1 is not between 0 and 1"),
        ({}, "Nothing is asked"),
        ({"recall": {"Nonsense": 0.9}}, "has no type Nonsense. It has Severity, Sign"),
        ({"recall": {"Sign": 0.9}, "precision": {"Sign": 0.9}}, "Sign: a type has one setting"),
        ({"recall": {"Sign": 0.9}, "precision": {"Test": 0.9}}, "Without spans_key"),
        ({"recall": {"Sign": 0.9}, "match": "strict"}, "Without spans_key a greater tau moves"),
    ],
)
def test_what_cannot_be_asked_is_refused(model, notes, tmp_path, asked, told):
    with pytest.raises(GuaranteeError, match=told):
        guarantee_pipeline(str(model), notes, tmp_path / "out", **asked)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["Sign"], "'Sign' is no type with its level"),
        (["=0.9"], "'=0.9' is no type"),
        (["Sign=x"], "'Sign=x' is no type"),
        (["Sign=0.9", "Sign=0.8"], "Sign is there twice"),
    ],
)
def test_levels_that_are_none_are_refused(given, told):
    with pytest.raises(GuaranteeError, match=told):
        read_levels(given)
    assert read_levels(["a=b=0.5", "Sign=0.9"]) == {"a=b": 0.5, "Sign": 0.9}


def test_notes_that_say_nothing_are_refused(model, tmp_path):
    with pytest.raises(GuaranteeError, match=r"few\.spacy: has one document"):
        few(model, 1, tmp_path, recall={"Sign": 0.5})
    docs = [doc for doc in unseen(spacy.blank("en"), 120) if "crp" not in doc.text]
    write_docs(tmp_path / "no.spacy", docs)
    with pytest.raises(GuaranteeError, match="no annotated mention of Test"):
        guarantee_pipeline(
            str(model), tmp_path / "no.spacy", tmp_path / "out", recall={"Test": 0.5}
        )
    docs = unseen(spacy.blank("en"), 120)
    for doc in docs:
        doc.user_data["patient_id"] = "one"
    write_docs(tmp_path / "patient.spacy", docs)
    with pytest.raises(GuaranteeError, match="those of one patient"):
        guarantee_pipeline(
            str(model), tmp_path / "patient.spacy", tmp_path / "out", recall={"Sign": 0.5}
        )


def test_notes_of_one_patient_count_as_one_document(model, tmp_path):
    docs = unseen(spacy.blank("en"), 120)
    for number, doc in enumerate(docs):
        doc.user_data["patient_id"] = f"p{number // 2}"
    write_docs(tmp_path / "patients.spacy", docs)
    corpus = tmp_path / "patients.spacy"
    (one,) = guarantee_pipeline(str(model), corpus, tmp_path / "out", recall={"Sign": 0.5})
    has_sign = [any(ent.label_ == "Sign" for ent in doc.ents) for doc in docs]
    assert one.documents == sum(map(any, zip(has_sign[::2], has_sign[1::2], strict=True)))


def test_notes_that_the_pipeline_had_are_refused(trained_path, tmp_path):
    corpus = tmp_path / "corpus.spacy"
    write_docs(corpus, long_docs(spacy.blank("en"), 6))
    calibrate(str(trained_path), corpus, tmp_path / "model", settings={"n_neighbors": 3})
    with pytest.raises(GuaranteeError, match="6 of 6 documents are among those"):
        guarantee_pipeline(str(tmp_path / "model"), corpus, tmp_path / "out", recall={"Sign": 0.5})
    assert not (tmp_path / "out").exists()


def test_a_pipeline_whose_entities_others_decide_too_is_refused(trained_path, model, tmp_path):
    with pytest.raises(GuaranteeError, match="has no fitted knn_calibrator"):
        few(trained_path, 9, tmp_path, recall={"Sign": 0.5})
    nlp = spacy.load(model)
    nlp.add_pipe("entity_ruler", before="ner")
    nlp.to_disk(tmp_path / "ruled")
    with pytest.raises(GuaranteeError, match=r"\['entity_ruler'\] write entities too"):
        few(tmp_path / "ruled", 9, tmp_path, recall={"Sign": 0.5})


def test_promises_are_gone_where_what_decides_has_changed(model, notes, corpus_path, tmp_path):
    out = tmp_path / "out"
    guarantee_pipeline(str(model), notes, out, precision={"Sign": 0.6})
    nlp = spacy.load(out)
    assert [promise.label for promise in read_promises(nlp)] == ["Sign"]
    nlp.to_disk(tmp_path / "again")
    assert read_promises(spacy.load(tmp_path / "again")) == read_promises(nlp)
    nlp.get_pipe("knn_calibrator").calibrator.set_params(tau=0.5)
    assert read_promises(nlp) == []
    tune(str(out), notes, tmp_path / "tuned")
    assert read_promises(spacy.load(tmp_path / "tuned")) == []
    calibrate(str(out), corpus_path, tmp_path / "other", settings={"n_neighbors": 2})
    assert read_promises(spacy.load(tmp_path / "other")) == []
    assert read_promises(spacy.load(model)) == []


def test_damaged_promises_are_named(model, notes, tmp_path):
    guarantee_pipeline(str(model), notes, tmp_path / "out", precision={"Sign": 0.6})
    nlp = spacy.load(tmp_path / "out")
    nlp.meta[META]["made"][0].pop("risk")
    with pytest.raises(PipelineError, match=r"meta\.json: its 'promises' are damaged"):
        read_promises(nlp)
