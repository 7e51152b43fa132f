"""`evaluate` as a whole: models and corpora from disk, against spaCy's own figures and by hand."""

import json
import warnings
from dataclasses import asdict
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Corpus
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.corpora.docbin import write_docs
from spacy_btl.errors import CorpusError, PipelineError
from spacy_btl.evaluation import at_taus, summary
from spacy_btl.evaluation.evaluate import evaluate
from spacy_btl.evaluation.report import write_report
from spacy_btl.exchange.card_file import CardFile
from spacy_btl.exchange.card_text import card_text
from spacy_btl.pipeline.explanation import top_neighbors
from tests.conftest import SENTENCES, make_examples, step
from tests.pipeline.test_overlapping import blank, reference
from tests.pipeline.test_overlapping import make_examples as overlapping_examples


def corpus(path: Path, *notes: tuple[str, list[tuple[int, int, str]]]) -> Path:
    nlp = spacy.blank("en")
    docs = []
    for text, entities in notes:
        doc = nlp(text)
        doc.ents = [doc.char_span(*entity) for entity in entities]
        docs.append(doc)
    DocBin(docs=docs).to_disk(path)
    return path


def ruler(path: Path, **words: str) -> Path:
    """A pipeline that finds words by rule."""
    nlp = spacy.blank("en")
    patterns = [{"label": label, "pattern": word} for word, label in words.items()]
    nlp.add_pipe("entity_ruler").add_patterns(patterns)
    nlp.meta["name"] = "ruled"
    nlp.meta["version"] = "1.2.3"
    nlp.to_disk(path)
    return path


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ruled")
    return ruler(path, fever="Sign", cough="Sign", crp="Test", today="Drug")


@pytest.fixture(scope="module")
def calibrated(trained_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3}).fit(make_examples(nlp))
    nlp.add_pipe("doc_cleaner")
    path = tmp_path_factory.mktemp("calibrated")
    nlp.to_disk(path)
    return path


def test_figures_are_those_of_nlp_evaluate(trained_path, corpus_path):
    metrics = evaluate(str(trained_path), corpus_path)
    nlp = spacy.load(trained_path)
    expected = nlp.evaluate(list(Corpus(corpus_path)(nlp)))
    for name in ("ents_p", "ents_r", "ents_f", "ents_macro_f", "tag_uar", "tag_macro_f"):
        assert metrics["scores"][name]["value"] == pytest.approx(expected[name])
        assert expected[name] > 0
    assert metrics["types"].keys() == expected["ents_per_type"].keys()
    for label, row in expected["ents_per_type"].items():
        for ours, theirs in (("ents_p", "p"), ("ents_r", "r"), ("ents_f", "f")):
            assert metrics["types"][label][ours]["value"] == pytest.approx(row[theirs])
    assert metrics["documents"] == 2 * len(SENTENCES)
    assert metrics["mentions"] == 2 * sum(len(entities) for _, entities in SENTENCES)


def test_figures_by_hand(ruled, tmp_path):
    path = corpus(
        tmp_path / "c.spacy",
        ("fever today , cough", [(0, 5, "Sign"), (14, 19, "Sign")]),
        ("crp and fever", [(0, 3, "Value")]),
        ("no pain , fever", [(3, 7, "Sign"), (10, 15, "Sign")]),
    )
    with pytest.warns(UserWarning, match="'Value'"):
        metrics = evaluate(str(ruled), path)
    figures = {name: row["value"] for name, row in metrics["scores"].items()}
    # Found: fever, cough and fever rightly; today, crp (Value) and a fever (not gold) wrongly.
    assert figures["ents_p"] == pytest.approx(3 / 6)
    assert figures["ents_r"] == pytest.approx(3 / 5)
    assert figures["ents_f"] == pytest.approx(6 / 11)
    sign = metrics["types"]["Sign"]
    assert (sign["support"], sign["ents_p"]["value"], sign["ents_r"]["value"]) == (
        4,
        3 / 4,
        3 / 4,
    )
    assert figures["ents_macro_f"] == pytest.approx((0.75 + 0) / 2)  # of Sign and Value
    # Recall of the token classes: O 4 of 6 (not "today" and a "fever"), Sign 3 of 4, Value 0 of 1.
    assert figures["tag_uar"] == pytest.approx((4 / 6 + 3 / 4 + 0) / 3)


def test_a_pipeline_of_other_pipes_has_all_but_calibration(ruled, corpus_path):
    with pytest.warns(UserWarning, match="does not know"):
        metrics = evaluate(str(ruled), corpus_path)
    assert metrics["model"] == "en_ruled 1.2.3"
    assert {"tag_uar", "ents_partial_macro_f"} <= metrics["scores"].keys()
    assert metrics["curve"] is None
    assert metrics["calibration"] == {"tokens": None, "entities": None}
    assert metrics["versus"] is None


def test_a_calibrated_pipeline_has_all(calibrated, corpus_path):
    """The logits that the figures need are read before the pipeline's `doc_cleaner` drops them."""
    metrics = evaluate(str(calibrated), corpus_path)
    assert {"tag_ece", "tag_nll", "ents_ece"} <= metrics["scores"].keys()
    assert sum(row["n"] for row in metrics["calibration"]["entities"]) > 0
    n_tokens = sum(n for _, _, n in metrics["confusion"]["cells"])
    assert sum(row["n"] for row in metrics["calibration"]["tokens"]) == n_tokens
    at_zero = next(row for row in metrics["curve"] if row["tau"] == 0)
    assert at_zero["tag_uar"] == pytest.approx(metrics["scores"]["tag_uar"]["value"])


def test_it_is_plain_json_and_the_seed_decides(calibrated, corpus_path):
    metrics = evaluate(str(calibrated), corpus_path, seed=1)
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert evaluate(str(calibrated), corpus_path, seed=1) == metrics
    assert evaluate(str(calibrated), corpus_path, seed=2) != metrics


def test_two_models_are_compared(trained_path, ruled, corpus_path):
    with pytest.warns(UserWarning, match="does not know"):
        metrics = evaluate(str(trained_path), corpus_path, versus=str(ruled))
    with pytest.warns(UserWarning, match="does not know"):
        other = evaluate(str(ruled), corpus_path)
    assert metrics["versus"]["model"] == other["model"]
    assert "tag_ece" not in metrics["versus"]["scores"]
    for name, row in metrics["versus"]["scores"].items():
        values = [part["scores"][name]["value"] for part in (metrics, other)]
        assert row["difference"] == pytest.approx(values[0] - values[1])
        assert row["p"] <= row["p_holm"]
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_models_that_tokenize_otherwise_are_not_compared(trained_path, tmp_path, corpus_path):
    nlp = spacy.load(ruler(tmp_path / "a", crp="Test"))
    nlp.tokenizer.add_special_case("fever", [{"ORTH": "fev"}, {"ORTH": "er"}])
    nlp.to_disk(tmp_path / "b")
    with (
        pytest.warns(UserWarning, match="does not know"),
        pytest.raises(PipelineError, match="tokenizers differ"),
    ):
        evaluate(str(trained_path), corpus_path, versus=str(tmp_path / "b"))


def test_text_comes_only_when_asked_for(ruled, tmp_path):
    notes = [("", []), ("severe pain", [(7, 11, "Sign")])]  # an empty note shifts no other
    path = corpus(tmp_path / "c.spacy", *notes)
    assert "severe" not in json.dumps(evaluate(str(ruled), path))
    metrics = evaluate(str(ruled), path, with_text=True)
    (error,) = metrics.pop("errors")
    assert error["kind"] == "missed"
    assert error["text"] == "severe pain"
    assert metrics == evaluate(str(ruled), path)


@pytest.mark.filterwarnings("ignore:The evaluation data")
def test_errors_are_explained_by_their_neighbours(calibrated, corpus_path, tmp_path):
    nlp = spacy.load(calibrated, exclude=["doc_cleaner"])
    pipe = nlp.get_pipe("knn_calibrator")
    docs = list(DocBin().from_disk(corpus_path).get_docs(nlp.vocab))
    for doc in docs:  # what the pipeline finds is now an error, and what is in its place missed
        doc.ents = [Span(doc, ent.start, ent.end, "Drug") for ent in doc.ents]
    DocBin(docs=docs).to_disk(tmp_path / "wrong.spacy")
    metrics = evaluate(str(calibrated), tmp_path / "wrong.spacy", with_text=True)
    errors = [error for error in metrics["errors"] if error["kind"] == "wrong"]
    assert errors
    for error in errors:
        doc = next(doc for doc in docs if error["text"] in doc.text)
        first = doc.text.index(error["text"])
        found = [
            nlp(doc.text).char_span(first + ent["start"], first + ent["end"])
            for ent in error["predicted"]
        ]
        expected = [[asdict(n) for n in top_neighbors(pipe.explain(span), 5)] for span in found]
        assert error["neighbors"] in expected


def test_a_gold_type_unknown_to_the_model_counts_as_missed_with_one_warning(trained_path, tmp_path):
    text, entities = SENTENCES[0]
    path = corpus(tmp_path / "c.spacy", (text, [*entities, (4, 11, "Person")]))
    with pytest.warns(UserWarning, match="'Person'") as caught:
        metrics = evaluate(str(trained_path), path)
    assert len(caught) == 1
    row = metrics["types"]["Person"]
    assert (row["support"], row["ents_r"]["value"]) == (1, 0)
    assert metrics["scores"]["ents_r"]["value"] == pytest.approx(3 / 4)


def test_a_corpus_file_of_any_name_will_do(trained_path, corpus_path, tmp_path):
    renamed = tmp_path / "corpus.bin"
    renamed.write_bytes(corpus_path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = evaluate(str(trained_path), renamed)
    assert metrics["corpus"].pop("file") == str(renamed)
    same = evaluate(str(trained_path), corpus_path)
    assert same["corpus"].pop("file") == str(corpus_path)
    assert metrics == same


def test_says_what_was_measured_on_what_and_when(calibrated, trained_path, corpus_path):
    metrics = evaluate(str(calibrated), corpus_path, versus=str(trained_path))
    nlp = spacy.load(calibrated)
    pipeline = metrics["pipeline"]
    assert (pipeline["name"], pipeline["version"]) == ("en_pipeline", "0.0.0")
    assert pipeline["folder"] == str(calibrated)
    assert pipeline["fingerprint"] == metrics["model_files"]
    assert pipeline["settings"] == asdict(nlp.get_pipe("knn_calibrator").calibrator.settings)
    assert not pipeline["calibrated"]
    assert (
        metrics["corpus"]["fingerprint"]
        == evaluate(str(trained_path), corpus_path)["corpus"]["fingerprint"]
    )
    assert date.fromisoformat(metrics["date"]) <= date.today()
    assert metrics["versus"]["pipeline"]["folder"] == str(trained_path)
    assert metrics["versus"]["pipeline"]["settings"] is None
    assert metrics["versus"]["pipeline"]["fingerprint"] != pipeline["fingerprint"]


def test_recall_is_of_all_annotated_mentions_too(ruled, tmp_path):
    """Of nested mentions one is an entity. What is found of the others counts as well."""
    nlp = spacy.blank("en")
    doc = nlp("severe fever and cough , no crp today")
    fragments = [doc[0:1], doc[3:4]]
    doc.spans["mentions"] = [
        Span(doc, 0, 2, label="Sign", span_id="T1"),
        Span(doc, 1, 2, label="Sign", span_id="T2"),  # found
        Span(doc, 3, 4, label="Sign", span_id="T3"),  # found
        *(Span(doc, s.start, s.end, label="Sign", span_id="T4") for s in fragments),
    ]
    doc.ents = [doc.spans["mentions"][0], doc.spans["mentions"][2]]
    DocBin(docs=[doc], store_user_data=True).to_disk(tmp_path / "c.spacy")
    metrics = evaluate(str(ruled), tmp_path / "c.spacy")
    assert (metrics["mentions"], metrics["annotated"]) == (2, 4)
    assert metrics["scores"]["ents_r"]["value"] == 1 / 2
    assert metrics["scores"]["spans_btl_r"]["value"] == 2 / 4
    assert metrics["types"]["Sign"]["annotated"] == 4


def test_what_cannot_be_scored_is_a_clear_error(ruled, corpus_path, tmp_path):
    model = str(ruled)
    (tmp_path / "broken.spacy").write_bytes(corpus_path.read_bytes()[:-10])
    spacy.blank("en").to_disk(tmp_path / "blank")
    DocBin(docs=[Doc(spacy.blank("en").vocab)]).to_disk(tmp_path / "empty.spacy")
    for name, path, kind, message in (
        ("en_gone", corpus_path, PipelineError, "no package and no pipeline folder"),
        (model, tmp_path / "gone.spacy", CorpusError, "gone.spacy: no such file"),
        (model, tmp_path, CorpusError, "is a folder"),
        (model, tmp_path / "broken.spacy", CorpusError, "broken.spacy: not a .spacy file"),
        (model, corpus(tmp_path / "n.spacy"), CorpusError, "n.spacy: contains no document"),
        (model, corpus(tmp_path / "o.spacy", ("no", [])), CorpusError, "o.spacy: has no entity"),
        (model, tmp_path / "empty.spacy", CorpusError, "empty.spacy: has no entity"),
        (str(tmp_path / "blank"), corpus_path, PipelineError, "No pipe of .* finds entities"),
    ):
        with pytest.raises(kind, match=message):
            evaluate(name, path)


# Pipelines whose predicted mentions can overlap.


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A calibrated pipeline with `spans_key`, and a corpus whose mentions overlap."""
    folder = tmp_path_factory.mktemp("overlapping")
    spacy.util.fix_random_seed(0)  # whatever tests ran before
    nlp = blank()
    examples = overlapping_examples(nlp, repeat=2)
    optimizer = nlp.initialize(lambda: examples)
    optimizer.learn_rate = 0.005
    for _ in range(25):
        step(nlp, examples, optimizer)
    pipe = nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3, "knn_weight": 0.25})
    pipe.fit(examples)
    pipe.fit_maps(examples)
    nlp.to_disk(folder / "model")
    docs = [example.reference for example in overlapping_examples(nlp)]
    docs += [reference(nlp, "no pain today", [(3, 7, "Sign"), (0, 7, "Sign")])]  # one is missed
    write_docs(folder / "corpus.spacy", docs)
    return folder / "model", folder / "corpus.spacy"


@pytest.fixture(scope="module")
def overlapping_metrics(overlapping) -> dict:
    model, path = overlapping
    return evaluate(str(model), path, with_text=True)


def test_all_mentions_are_measured_where_they_can_overlap(overlapping, overlapping_metrics):
    nlp = spacy.load(overlapping[0])
    examples = list(Corpus(overlapping[1])(nlp))
    expected = nlp.evaluate(examples)
    found = overlapping_metrics["scores"]
    for name in ("spans_btl_p", "spans_btl_r", "spans_btl_f", "spans_btl_macro_f", "ents_f"):
        assert found[name]["value"] == pytest.approx(expected[name])
    assert {"tag_uar", "tag_macro_f", "spans_btl_ece", "spans_btl_r_lost"} <= found.keys()
    assert not {"tag_accuracy", "tag_ece"} & found.keys()
    gold = [span.label_ for one in examples for span in one.reference.spans["mentions"]]
    assert overlapping_metrics["overlapping"]
    assert overlapping_metrics["annotated"] == len(gold) > overlapping_metrics["mentions"]
    for label, row in overlapping_metrics["types"].items():
        assert row["support"] == gold.count(label)
        values = expected["spans_btl_per_type"][label]
        assert row["spans_btl_f"]["value"] == pytest.approx(values["f"])
    n = sum(row["n"] for row in overlapping_metrics["calibration"]["mentions"])
    assert n == sum(len(nlp(one.reference.text).spans["btl"]) for one in examples)
    assert overlapping_metrics["calibration"]["tokens"] is None
    assert overlapping_metrics["confusion"] is None
    assert json.loads(json.dumps(overlapping_metrics, allow_nan=False)) == overlapping_metrics


@pytest.mark.filterwarnings("ignore:'knn_calibrator' has other settings")
def test_the_curve_over_tau_is_what_the_pipeline_finds_with_each(overlapping, monkeypatch):
    for module in (at_taus, summary):
        monkeypatch.setattr(module, "TAUS", (-9.0, 0.0, 9.0))
    nlp = spacy.load(overlapping[0])
    curve = evaluate(str(overlapping[0]), overlapping[1])["curve"]
    calibrator = nlp.get_pipe("knn_calibrator").calibrator
    for point in curve:
        calibrator.set_params(tau=point["tau"])
        expected = nlp.evaluate(list(Corpus(overlapping[1])(nlp)))
        for name in ("tag_uar", "tag_macro_f", "spans_btl_f"):
            assert point[name] == pytest.approx(expected[name])
    assert len({point["tag_uar"] for point in curve}) > 1


def test_errors_among_overlapping_mentions_are_shown_without_overlaps(overlapping_metrics):
    errors = overlapping_metrics["errors"]
    assert errors
    for error in errors:
        assert error["neighbors"]
        for name in ("gold", "predicted"):
            ends = [(ent["start"], ent["end"]) for ent in error[name]]
            assert all(end <= start for (_, end), (start, _) in pairwise(ends))
        own = error["predicted" if error["kind"] == "wrong" else "gold"]
        assert error["label"] in [ent["label"] for ent in own]


def test_a_report_and_the_command_show_overlapping_mentions(overlapping, tmp_path):
    args = ["btl", "evaluate", *map(str, overlapping), "--output", str(tmp_path), "--with-text"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(app, args)
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    page = (tmp_path / "report.html").read_text("utf-8")
    f = f"{metrics['scores']['spans_btl_f']['value']:.1%}"
    assert f"Their F1 is <strong>{f}</strong>" in page
    assert "reliability-mentions" in page
    assert page.count("Not shown:") == 1  # the confusions
    assert '<th scope="col">Mention F1</th>' in page
    assert '0.15 <span class="muted">this pipeline</span>' in page
    assert f" {metrics['annotated']} mentions in {metrics['documents']} documents" in result.output
    rows = [line.split() for line in result.output.splitlines()]
    for label, row in metrics["types"].items():
        values = [f"{row[f'spans_btl_{letter}']['value']:.1%}" for letter in "prf"]
        assert [label, str(row["support"]), *values] in rows
    assert any(row[:3] == ["mention", "micro", "F1"] and row[3] == f for row in rows)


def test_a_card_tells_how_to_read_overlapping_mentions(overlapping, overlapping_metrics):
    facts = {"description": "d", "author": "a", "license": "MIT", "dataset": "Notes"}
    texts = dict.fromkeys(("training_data", "evaluation_data", "intended_use"), "t")
    sources = [{"name": "n", "license": "MIT"}]
    card = CardFile(**facts, **texts, limits=["l"], sources=sources)
    nlp = spacy.load(overlapping[0])
    text = card_text(nlp, overlapping_metrics, card, versions={"spacy-btl": "1"})
    assert '.spans["btl"]:' in text
    f = overlapping_metrics["scores"]["spans_btl_f"]
    assert f"| mention micro F1 | {f['value']:.1%} ({100 * f['low']:.1f}" in text
    n_mentions, n_tokens = overlapping_metrics["annotated"], nlp.get_pipe("ner").cfg["n_tokens"]
    assert f"{n_mentions} annotated mentions, overlapping or not" in text
    assert f"was trained on {n_tokens} tokens" in text
    assert "| confidence | mentions |" in text
    assert "The predicted entities do not overlap" not in text


def test_a_flat_pipeline_is_compared_by_mentions_and_not_by_tokens(overlapping, tmp_path):
    model, path = overlapping
    flat = ruler(tmp_path / "flat", fever="Sign", cough="Sign", aspirin="Sign")
    with pytest.warns(UserWarning, match="does not know"):
        metrics = evaluate(str(model), path, versus=str(flat))
    compared = metrics["versus"]["scores"]
    assert {"ents_f", "spans_btl_f", "spans_btl_r_lost"} <= compared.keys()
    assert not [name for name in compared if name.startswith("tag_")]
    with pytest.warns(UserWarning, match="does not know"):
        theirs = evaluate(str(flat), path)
    for name, row in compared.items():
        values = [part["scores"][name]["value"] for part in (metrics, theirs)]
        assert row["difference"] == pytest.approx(values[0] - values[1])
    same = evaluate(str(model), path, versus=str(model))["versus"]["scores"]
    assert same["tag_uar"]["p"] == 1
    apart = corpus(tmp_path / "apart.spacy", ("no fever , no cough", [(3, 8, "Sign")]))
    metrics = evaluate(str(model), apart, versus=str(flat))
    assert "ents_f" in metrics["versus"]["scores"]


def test_a_spancat_is_measured_by_its_group(overlapping, tmp_path):
    nlp = spacy.blank("en")
    suggester = {"@misc": "spacy.ngram_suggester.v1", "sizes": [1, 2, 3]}
    config = {"spans_key": "sc", "suggester": suggester, "threshold": 0.0}
    nlp.add_pipe("spancat", config=config)
    examples = overlapping_examples(nlp)
    for example in examples:
        example.reference.spans["sc"] = list(example.reference.spans["mentions"])
    nlp.initialize(lambda: examples)
    nlp.to_disk(tmp_path / "model")
    metrics = evaluate(str(tmp_path / "model"), overlapping[1])
    assert metrics["overlapping"]
    assert metrics["curve"] is None
    assert metrics["scores"]["spans_btl_r"]["value"] > 0.5
    assert "spans_btl_ece" in metrics["scores"]
    write_report(metrics, tmp_path / "report.html")
