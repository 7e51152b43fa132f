"""From a trained pipeline to a calibrated one on disk."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import DocBin, Span
from spacy.training import Corpus

from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import BtlError, CalibratorError, CorpusError, PipelineError
from spacy_btl.evaluation.predictions import predict
from spacy_btl.training.calibrate import calibrate
from tests.conftest import PAPER, SENTENCES, make_examples

TEXT = SENTENCES[0][0]
SETTINGS = {**PAPER, "n_neighbors": 5}


@pytest.fixture
def output(tmp_path) -> Path:
    return tmp_path / "calibrated"


def entities(doc) -> list[tuple[str, str, float | None]]:
    return [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents]


def test_appends_a_fitted_calibrator_and_a_cleaner(trained_path, corpus_path, output):
    returned = calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    nlp = spacy.load(output)
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
    assert nlp.pipe_names == returned.pipe_names

    other = spacy.load(trained_path)
    pipe = other.add_pipe("knn_calibrator", config=SETTINGS)
    pipe.fit(Corpus(corpus_path)(other))
    found = nlp.get_pipe("knn_calibrator").calibrator
    assert len(found.datastore.tags) == len(pipe.calibrator.datastore.tags)
    expected = entities(other(TEXT))
    assert [name for _, name, _ in expected]
    assert [e[:2] for e in entities(nlp(TEXT))] == [e[:2] for e in expected]
    assert [e[2] for e in entities(nlp(TEXT))] == pytest.approx([e[2] for e in expected], rel=1e-4)


def test_the_doc_keeps_entities_and_confidence_only(trained_path, corpus_path, output):
    nlp = calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    for doc in [nlp(TEXT), *nlp.pipe([TEXT] * 3), *spacy.load(output).pipe([TEXT] * 3)]:
        assert doc._.token_logits is None
        assert doc._.trf_data is None
        assert doc.ents
        assert all(0 < ent._.confidence <= 1 for ent in doc.ents)


def test_a_calibrated_pipeline_can_be_calibrated_again(trained_path, corpus_path, output):
    calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    half = output.parent / "half.spacy"
    docs = [example.reference for example in make_examples(spacy.blank("en"))]
    DocBin(docs=docs).to_disk(half)
    nlp = calibrate(str(output), half, output, settings={"n_neighbors": 3, "tau": 0.5})
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
    pipe = spacy.load(output).get_pipe("knn_calibrator")
    assert pipe.calibrator.settings == Settings(n_neighbors=3, tau=0.5)
    assert len(pipe.calibrator.datastore.tags) == sum(len(doc) for doc in docs)


def test_a_disabled_calibrator_is_replaced_too(trained_path, corpus_path, output):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator")
    nlp.disable_pipe("knn_calibrator")
    nlp.to_disk(output)
    nlp = calibrate(str(output), corpus_path, output, settings=SETTINGS)
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]


def test_a_calibrator_of_another_name_is_replaced_too(trained_path, corpus_path, output):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", name="mine")
    nlp.add_pipe("doc_cleaner", name="sweeper", config={"attrs": {"_.trf_data": None}})
    nlp.to_disk(output)
    nlp = calibrate(str(output), corpus_path, output, settings=SETTINGS)
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
    assert "_.trf_data" in nlp.get_pipe_config("doc_cleaner")["attrs"]


@Language.component("tests_link", assigns=["token.ent_kb_id"])
def link(doc):
    doc.set_ents([Span(doc, e.start, e.end, e.label_, kb_id="Q1") for e in doc.ents])
    return doc


def test_pipes_that_read_entities_stay_behind_the_calibrator(trained_path, corpus_path, output):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("tests_link")
    nlp.add_pipe("merge_entities")
    nlp.to_disk(output)
    nlp = calibrate(str(output), corpus_path, output, settings=SETTINGS)
    assert nlp.pipe_names[2:] == ["knn_calibrator", "tests_link", "merge_entities", "doc_cleaner"]
    doc = nlp(SENTENCES[0][0])
    assert [ent.kb_id_ for ent in doc.ents] == ["Q1"] * len(doc.ents) != []
    assert all(len(ent) == 1 and ent._.confidence is not None for ent in doc.ents)
    found = predict(nlp, make_examples(nlp))  # as if nothing were merged
    without = predict(calibrate_plainly(trained_path, corpus_path, output), make_examples(nlp))
    np.testing.assert_array_equal(found.confidence, without.confidence)
    np.testing.assert_array_equal(found.probabilities, without.probabilities)


def calibrate_plainly(trained_path, corpus_path, output):
    return calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)


def test_a_corpus_file_of_any_name_will_do(trained_path, corpus_path, output):
    renamed = output.parent / "corpus.bin"
    renamed.write_bytes(corpus_path.read_bytes())
    nlp = calibrate(str(trained_path), renamed, output, settings=SETTINGS)
    assert len(nlp.get_pipe("knn_calibrator").calibrator.datastore.tags)


def test_no_saved_file_holds_a_path_of_the_machine(tiny_bert, trained_path, corpus_path, output):
    calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    data = b"".join(path.read_bytes() for path in output.rglob("*") if path.is_file())
    for path in (tiny_bert, trained_path, corpus_path, output, Path(tempfile.gettempdir())):
        assert str(path).encode() not in data


def save_docs(path: Path, *texts: str) -> Path:
    nlp = spacy.blank("en")
    DocBin(docs=[nlp(text) for text in texts]).to_disk(path)
    return path


def test_what_cannot_be_used_is_a_clear_error_and_leaves_nothing(
    trained_path, corpus_path, tmp_path, output
):
    model = str(trained_path)
    plain = save_docs(tmp_path / "plain.spacy", TEXT)
    nothing = save_docs(tmp_path / "nothing.spacy")
    (tmp_path / "broken.spacy").write_bytes(corpus_path.read_bytes()[:-10])
    before = sorted(tmp_path.iterdir())
    cases: list[tuple[str, Path, dict, type[BtlError], str]] = [
        ("en_gone", corpus_path, {}, PipelineError, "no package and no pipeline folder"),
        (model, tmp_path / "gone.spacy", {}, CorpusError, "gone.spacy: no such file"),
        (model, tmp_path / "broken.spacy", {}, CorpusError, "broken.spacy: not a .spacy file"),
        (model, nothing, {}, CorpusError, "contains no document"),
        (model, plain, {}, CalibratorError, "no entity"),
        (model, corpus_path, {"n_neighbors": 9999}, CalibratorError, "n_neighbors = 9999"),
        (model, corpus_path, {"ner": "other"}, CalibratorError, "btl_ner pipe named 'other'"),
    ]
    for name, corpus, settings, kind, message in cases:
        with pytest.raises(kind, match=message):
            calibrate(name, corpus, output, settings=settings)
        assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_no_pipeline_is_not_overwritten(trained_path, corpus_path, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(PipelineError, match="holds no pipeline"):
        calibrate(str(trained_path), corpus_path, tmp_path, settings=SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_earlier_pipeline_survives_a_failure(trained_path, corpus_path, output):
    calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    with pytest.raises(CalibratorError):
        calibrate(str(output), corpus_path, output, settings={"n_neighbors": 9999})
    assert before == {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}


def test_what_a_cleaner_dropped_before_it_still_drops(trained_path, corpus_path, tmp_path, output):
    nlp = spacy.load(trained_path)
    nlp.add_pipe("doc_cleaner", config={"attrs": {"cats": {}}})
    nlp.to_disk(tmp_path / "cleaned")
    calibrated = calibrate(str(tmp_path / "cleaned"), corpus_path, output, settings={})
    attrs = calibrated.get_pipe_config("doc_cleaner")["attrs"]
    assert {"cats", "_.token_logits", "_.trf_data"} <= set(attrs)


def test_spans_of_a_calibrated_pipeline_become_docs(trained_path, corpus_path, output):
    calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    doc = spacy.load(output)(TEXT)
    assert doc._.token_logits is None
    assert [ent.as_doc().text for ent in doc.ents] == [ent.text_with_ws for ent in doc.ents] != []
    assert not doc.has_vector


def test_the_documents_it_is_fitted_to_cannot_be_held_out(trained_path, corpus_path, output):
    copied = output.parent / "copy.spacy"
    copied.write_bytes(corpus_path.read_bytes())
    with pytest.raises(CalibratorError, match="maps need other documents"):
        calibrate(str(trained_path), corpus_path, output, settings=SETTINGS, held_out=copied)
    assert not output.exists()


def test_a_cut_cross_fitting_stays_for_its_own_command(trained_path, corpus_path, output):
    work = output.parent / f".{output.name}-crossfit"
    work.mkdir()
    calibrate(str(trained_path), corpus_path, output, settings=SETTINGS)
    assert work.is_dir()
