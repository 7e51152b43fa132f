"""Arms that are another library's predictions: mentions that may overlap, or entities."""

from itertools import chain

import numpy as np
import pytest
import spacy
import srsly
from seqeval.metrics import classification_report
from seqeval.scheme import IOB2
from sklearn.metrics import f1_score, recall_score
from spacy.tokens import DocBin
from spacy.training import biluo_to_iob, offsets_to_biluo_tags

from spacy_btl.errors import FileError
from spacy_btl.experiments.cells import run_cell
from spacy_btl.experiments.config import read_experiment
from spacy_btl.experiments.finished import FinishedCells
from spacy_btl.experiments.plan import plan
from spacy_btl.experiments.results import summarize
from spacy_btl.metrics.counts import load_counts

COST = {"optimizer_steps": 7, "encoder_passes": 7, "seconds": 8.0, "peak_memory_mb": 9}
COST |= {"precision": "float32", "threads": 1, "gpu": False, "words_per_second": 10.0}


@pytest.fixture
def predicted(experiment_file, tmp_path):
    """Plans an arm of predictions on the folds. RETURNS: The experiment, its cells, and the file
    of predictions of each fold."""

    def make(folds, arms=None, **settings):
        folder = tmp_path / "predicted"
        other = {"predicted": str(folder), "decodings": ["arg-max"], "folds": folds, **settings}
        baseline = [*(arms or {}), "other"][0]
        file = experiment_file(
            arms={**(arms or {}), "other": other}, baseline=[baseline, "arg-max"]
        )
        paths = [folder / "sentences" / f"fold-{fold}" / "predicted.jsonl" for fold in folds]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            srsly.write_json(path.with_name("cost.json"), COST)
        experiment = read_experiment(file)
        return experiment, plan(experiment, tmp_path / "cells"), paths

    return make


def docs_of(path):
    return [*DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)]


def entities(doc, confidence=None):
    return [[e.start_char, e.end_char, e.label_, confidence] for e in doc.ents]


def test_an_arm_can_be_another_librarys_predictions(predicted, tmp_path):
    _, (cell,), (path,) = predicted([0])
    docs = docs_of(cell.documents["test"])
    mentions = [entities(doc, 0.75) for doc in docs]
    n_gold = sum(map(len, mentions))
    mentions[0] += [[0, len(docs[0].text), mentions[0][0][2], 0.25]]  # it overlaps the others
    srsly.write_jsonl(path, mentions)
    folder = run_cell(cell, tmp_path / "cells")
    (file,) = folder.glob("counts-*.npz")
    counts, _ = load_counts(file.read_bytes(), file.name)
    assert counts["mentions"].sum(axis=(0, 2)).tolist() == [n_gold, n_gold, n_gold + 1]
    bins = counts["mention_bins"].sum(axis=0)
    assert (bins[0, [3, 11]].tolist(), bins[2].sum()) == ([1, n_gold], n_gold)
    assert srsly.read_json(folder / "cost.json")["seconds"] == 8.0
    assert not (tmp_path / "cells" / "networks").exists()


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", {}),
        ("no JSON\n", {}),
        ("[[0, 1]]\n" * 4, {}),
        ("[]\n" * 5, {}),
        ('[[90000, 90001, "Sign", 1]]\n' * 4, {}),
        ('[[0, 3, "Sign", null]]\n' * 4, {}),
        ('[[0, 3, "Sign", 1], [0, 8, "Sign", 1]]\n' * 4, {"flat": True}),
    ],
)
def test_other_predictions_are_refused(predicted, tmp_path, text, settings):
    _, (cell,), (path,) = predicted([0], **settings)
    path.write_text(text)
    message = "none of which overlaps another" if settings else "a line each"
    with pytest.raises(FileError, match=message):
        run_cell(cell, tmp_path / "cells")
    assert not (tmp_path / "cells" / cell.key).exists()


def test_flat_predictions_make_other_cells(predicted):
    keys = [predicted([0], **settings)[1][0].key for settings in ({}, {"flat": True})]
    assert keys[0] != keys[1]


def made_up(doc, rng):
    """Some entities of a doc, some moved or of another type, and a confidence of each."""
    found, end = [], 0
    for ent in doc.ents:
        kind = rng.integers(4)
        first = max(end, ent.start - (kind == 1))
        label = "Value" if kind == 2 else ent.label_
        if kind < 3:
            span = doc[first : ent.end]
            confidence = round(float(rng.random()), 3)
            found.append([span.start_char, span.end_char, label, confidence])
            end = ent.end
    return found


def iob(doc, mentions):
    return biluo_to_iob(offsets_to_biluo_tags(doc, [tuple(one[:3]) for one in mentions]))


def types(tags):
    return [tag.split("-")[-1] for tag in chain.from_iterable(tags)]


def ece(rows):
    """The expected calibration error in 15 bins; rows of (confidence, correct)."""
    confidence, correct = np.array(rows, dtype=float).T
    bins = np.minimum(confidence * 15, 14).astype(int)
    gaps = [abs((confidence - correct)[bins == number].sum()) for number in range(15)]
    return sum(gaps) / len(rows)


@pytest.mark.parametrize("stated", [True, False])
def test_flat_predictions_have_the_figures_of_seqeval_and_scikit_learn(predicted, tmp_path, stated):
    experiment, cells, paths = predicted([0, 1], flat=True)
    rng = np.random.default_rng(3)
    gold, found, confidences = [], [], []
    for cell, path in zip(cells, paths, strict=True):
        docs = docs_of(cell.documents["test"])
        rows = [made_up(doc, rng) for doc in docs]
        gold += [iob(doc, entities(doc)) for doc in docs]
        found += [iob(doc, row) for doc, row in zip(docs, rows, strict=True)]
        for doc, row in zip(docs, rows, strict=True):
            places = [one[:3] for one in entities(doc)]
            confidences += [(one[3], one[:3] in places) for one in row]
        srsly.write_jsonl(path, rows if stated else [[[*o[:3], None] for o in r] for r in rows])
    _, cells, _ = predicted([0, 1], flat=True)  # a key has the predictions
    for cell in cells:
        run_cell(cell, tmp_path / "cells")
    summary = summarize(experiment, cells, FinishedCells(tmp_path / "cells", tmp_path / "results"))
    (result,) = summary["results"]
    assert not summary["missing"]
    report = classification_report(
        gold, found, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
    )
    truth, guess = types(gold), types(found)
    labels = sorted(set(truth))
    same = {"labels": labels, "average": "macro", "zero_division": 0}
    expected = {
        "ents_f": report["micro avg"]["f1-score"],
        "ents_macro_f": np.mean([report[t]["f1-score"] for t in labels if t != "O"]),
        "tag_uar": recall_score(truth, guess, **same),
        "tag_macro_f": f1_score(truth, guess, **same),
        "ents_ece": ece(confidences) if stated else None,
    }
    assert 0.2 < expected["ents_f"] < 0.9
    for name, value in expected.items():
        score = result["scores"].get(name, {"value": None})["value"]
        assert score == (pytest.approx(value, abs=1e-3) if value is not None else None), name
    recalls = recall_score(truth, guess, labels=labels, average=None, zero_division=0)
    for label, value in zip(labels, recalls, strict=True):
        if label != "O":
            assert result["types"][label]["tag_r"]["value"] == pytest.approx(value, abs=1e-4)
            support = report[label]["support"]
            assert result["types"][label]["support"] == support
    assert "tag_ece" not in result["scores"]  # nobody stated the probability of a token


@pytest.mark.slow
def test_flat_predictions_stand_beside_the_other_arms(predicted, tmp_path):
    """Those of an arm of ours, given as another library's, have its figures."""
    ours = {"ours": {"decodings": ["arg-max"], "overrides": {"training.max_steps": 40}}}
    _, cells, paths = predicted([0, 1], ours, flat=True)
    for cell in (cell for cell in cells if cell.arm == "ours"):
        folder = run_cell(cell, tmp_path / "cells")
        docs = docs_of(folder / "test-logits.spacy")
        srsly.write_jsonl(paths[cell.fold], [entities(doc, 0.5) for doc in docs])
    experiment, cells, _ = predicted([0, 1], ours, flat=True)  # a key has the predictions
    for cell in (cell for cell in cells if cell.arm == "other"):
        run_cell(cell, tmp_path / "cells")
    summary = summarize(experiment, cells, FinishedCells(tmp_path / "cells", tmp_path / "results"))
    own, other = summary["results"]
    shared = own["scores"].keys() & other["scores"].keys()
    assert {"tag_uar", "tag_macro_f", "ents_f", "ents_macro_f"} <= shared
    assert own["scores"]["ents_f"]["value"] > 0
    for name in shared - {"ents_ece", "ents_brier", "ents_nll"}:
        assert own["scores"][name] == other["scores"][name], name
    assert {row["difference"] for row in other["versus_baseline"].values()} == {0}
    assert other["cost"]["words_per_second"] == 10
    assert "words_per_second" not in own["cost"]
