"""How often a promise is broken, by out-of-fold predictions: counts of each document, then draws.

    python experiments/guarantee.py count CELLS experiments/results/guarantee_NAME.safetensors.xz
    python experiments/guarantee.py draw experiments/results/guarantee_*.safetensors.xz \
        experiments/results/guarantee.json
    python experiments/guarantee.py openmed experiments/results/guarantee_*.safetensors.xz \
        experiments/results/guarantee_openmed.json

CELLS is the cache of `btl ablate`, with the cells of the folds of one corpus and one arm that has
`spans_key`: their test documents together are the corpus. What is counted has no text. Documents of
a patient, or files of a trial, count as one. The draws take calibration documents from all of them,
with replacement, so that the true mean is that over all; and random halves, of which one calibrates
and the other one is new. The third command needs OpenMed, in an environment of its own
(`pip install openmed==3.1.0`): its threshold of a type's confidence is chosen in the same draws.
"""

import json
import lzma
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import load_arrays, save_arrays
from spacy_btl.corpora.groups import group_numbers
from spacy_btl.experiments.cells import _examples
from spacy_btl.guarantee.bounds import documents_needed, p_value
from spacy_btl.guarantee.knobs import BONUSES, CONFIDENCES, Sweep, confidence_starts, with_bonuses
from spacy_btl.guarantee.tally import (
    GOLD,
    MATCHED,
    PREDICTED,
    WHOLE,
    Kind,
    Match,
    pooled,
    tally,
)
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.pipelines import load_pipeline

CALIBRATOR = {
    "search": {"@misc": "spacy_btl.SklearnSearch.v1"},
    "knn_weight": 0.25,
    "transition_weight": 0.2,
    "tau": 0.15,
}
MATCHES: tuple[Match, ...] = ("overlap", "strict")
RISK = 0.05
DRAWS = 500
DRAWN = (100,)  # documents of the corpus to calibrate on, with and without the type
LEVELS: dict[Kind, tuple[float, ...]] = {"recall": (0.7, 0.8, 0.9), "precision": (0.7, 0.8, 0.9)}
RISKS = (0.1, 0.05, 0.01)
POWER = 0.8
MOST = 1500
MIN_DOCUMENTS = 50  # with the type, of those of the corpus
RNG = np.random.default_rng

Pair = tuple[NDArray[np.integer], NDArray[np.integer]]


def count(cells: Path, output: Path) -> None:
    """Write the counts of all test documents."""
    folds = [
        folder for folder in sorted(cells.iterdir()) if (folder / "test-logits.spacy").is_file()
    ]
    parts = [_count(folder) for folder in folds]
    types = parts[0][0]
    if any(other != types for other, _ in parts):
        raise SystemExit("The cells have other types, so they are not folds of one arm.")
    content = {"types": list(types), "folds": len(folds)}
    arrays = {name: np.concatenate([one[name] for _, one in parts], axis=1) for name in parts[0][1]}
    output.write_bytes(lzma.compress(save_arrays(arrays, content), preset=9))


def _count(folder: Path) -> tuple[tuple[str, ...], dict[str, NDArray[np.int64]]]:
    """The types, and counts [S, D, K, 3] by kind and match."""
    nlp = load_pipeline(str(folder / "pipeline"), exclude=["transformer"])
    nlp.disable_pipe("ner")  # the docs have its logits
    pipe = cast(KnnCalibrator, nlp.add_pipe("knn_calibrator", config=CALIBRATOR))
    pipe.fit(_examples(folder, "train", nlp))
    pipe.fit_maps(_examples(folder, "dev", nlp))
    examples = list(_examples(folder, "test", nlp))
    held_out = pipe.read_held_out(examples)
    calibrator = pipe.calibrator
    p = calibrator.predict_proba(held_out.logits)
    datastore, words = calibrator.fitted_datastore(), held_out.words
    kinds = range(len(datastore.tag_scheme.types))
    documents = group_numbers([example.reference for example in examples])
    counts: dict[str, list[NDArray[np.int64]]] = defaultdict(list)
    for bonus in BONUSES:
        tau = with_bonuses(calibrator.settings.tau, datastore, dict.fromkeys(kinds, bonus))
        runs = calibrator.find_entities(p, words, tau=tau).runs
        for match in MATCHES:
            counts[f"recall {match}"].append(tally(held_out, runs, kinds, documents, match))
    runs, confidences, *_ = calibrator.find_entities(p, words)
    for least in CONFIDENCES:
        kept = runs.take(confidences >= least)
        for match in MATCHES:
            counts[f"precision {match}"].append(tally(held_out, kept, kinds, documents, match))
    types = datastore.tag_scheme.types
    return types, {name: np.stack(each).astype("int16") for name, each in counts.items()}


def draw(counts: Sequence[Path], output: Path) -> None:
    """Write how often promises, and settings that are chosen without a bound, are broken."""
    facts = {
        "min_documents": MIN_DOCUMENTS,
        "draws": DRAWS,
        "risk": RISK,
        "most_bonus": BONUSES[0],
        "need": _need(),
    }
    corpora = {}
    for path in counts:
        arrays, content = load_arrays(lzma.decompress(path.read_bytes()))
        rows = [
            row
            for match in MATCHES
            for kind in LEVELS
            for row in _draw_kind(arrays[f"{kind} {match}"], content["types"], kind, match)
        ]
        documents = arrays["recall overlap"].shape[1]
        corpora[_corpus(path)] = {"documents": documents, "folds": content["folds"], "rows": rows}
    _write(output, {**facts, "corpora": corpora})


def _corpus(counts: Path) -> str:
    return counts.name.removeprefix("guarantee_").split(".")[0]


def _write(output: Path, result: dict[str, Any]) -> None:
    output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def openmed(counts: Sequence[Path], output: Path) -> None:
    """Write how often OpenMed's thresholds are wrong more often than they were asked to be."""
    from importlib.metadata import version

    result: dict[str, Any] = {"version": version("openmed"), "draws": DRAWS, "risk": RISK}
    result["rows"] = [
        {"corpus": _corpus(path), "match": match, "level": level, **found}
        for path in counts
        for arrays, content in [load_arrays(lzma.decompress(path.read_bytes()))]
        for match in MATCHES
        for level in LEVELS["precision"]
        for found in [_openmed_types(arrays[f"precision {match}"], content["types"], level)]
    ]
    _write(output, result)


def _openmed_types(counts: NDArray[np.int64], types: list[str], level: float) -> dict[str, Any]:
    """Of each type that has enough documents, the share of all draws in which OpenMed gives a
    threshold that keeps any mention, and in which too many of those mentions are wrong: of all
    documents' mentions together, as it counts them.

    counts (int [S, D, K, 3]): See `count`; of least confidences, from the highest on.
    """
    enough = (counts[0, :, :, GOLD] > 0).sum(axis=0) >= MIN_DOCUMENTS
    kinds = np.flatnonzero(enough).tolist()
    n_documents, (n_drawn,) = counts.shape[1], DRAWN
    draws = RNG(0).integers(n_documents, size=(DRAWS, n_drawn))
    of_types = []
    for kind in kinds:
        predicted, matched = (counts[:, :, kind, column] for column in (PREDICTED, MATCHED))
        wrong = 1 - matched.sum(axis=1) / np.maximum(predicted.sum(axis=1), 1)
        settings = [
            _openmed_setting(predicted[:, drawn].sum(axis=1), matched[:, drawn].sum(axis=1), level)
            for drawn in draws
        ]
        given = [setting for setting in settings if setting is not None]
        broken = sum(bool(wrong[setting] > 1 - level) for setting in given)
        of_types.append({"given": len(given) / DRAWS, "broken": broken / DRAWS})
    return {
        "types": [types[kind] for kind in kinds],
        **{name: [one[name] for one in of_types] for name in ("given", "broken")},
    }


def _openmed_setting(
    predicted: NDArray[np.int64], matched: NDArray[np.int64], level: float
) -> int | None:
    """The place of the threshold that OpenMed selects; None if it keeps no mention.

    predicted, matched (int [S]): Mentions of at least each confidence, and those that are right.
    """
    from openmed.eval.calibrate import (  # type: ignore[import-not-found]
        AbstentionRiskSample,
        select_risk_controlled_abstention_threshold,
    )

    samples = [
        AbstentionRiskSample("type", "en", 1 - confidence, wrong, weight=float(n))
        for wrong, of_settings in ((False, matched), (True, predicted - matched))
        for confidence, n in zip(CONFIDENCES, np.diff(of_settings, prepend=0), strict=True)
        if n > 0
    ]
    if not samples:
        return None
    selected = select_risk_controlled_abstention_threshold(
        samples, target_risk=1 - level, confidence_level=1 - RISK
    )
    if not selected.accepted_critical_weight:
        return None
    return CONFIDENCES.index(round(selected.confidence_threshold, 2))


def _need() -> dict[str, Any]:
    """How many documents are enough: without a miss, and with half of the misses that are allowed,
    in documents of 1 + Poisson(2) mentions that are alike (beta-binomial of correlation 0.1)."""
    rows = [
        {
            "level": level,
            "zero": [documents_needed(np.zeros(1), 1 - level, risk) for risk in RISKS],
            "truth": (1 + level) / 2,
            "with_misses": _with_misses(1 - level),
        }
        for level in (0.7, 0.8, 0.9, 0.95, 0.99)
    ]
    return {
        "risks": RISKS,
        "of_truth": {"risk": RISK, "power": POWER, "most": MOST},
        "rows": rows,
    }


def _with_misses(limit: float) -> int | None:
    """The least number of documents with which enough draws are certified; None above `MOST`."""
    rng, mean, alike = RNG(0), limit / 2, 0.1
    for n in range(10, MOST + 1, 10):
        p = rng.beta(mean * (1 - alike) / alike, (1 - mean) * (1 - alike) / alike, (200, n))
        mentions = 1 + rng.poisson(2, (200, n))
        losses = rng.binomial(mentions, p) / mentions
        if np.mean([p_value(one, limit, RISK) <= RISK for one in losses]) >= POWER:
            return n
    return None


def _draw_kind(
    counts: NDArray[np.int64], types: list[str], kind: Kind, match: str
) -> Iterator[dict[str, Any]]:
    """A row for each level and number of calibration documents, over all types that have enough.

    counts (int [S, D, K, 3]): See `count`.
    """
    n_documents = counts.shape[1]
    enough = (counts[0, :, :, GOLD] > 0).sum(axis=0) >= MIN_DOCUMENTS
    kinds = np.flatnonzero(enough).tolist()
    draws = {
        f"{n} drawn with replacement": [
            (drawn, np.arange(n_documents))
            for drawn in RNG(0).integers(n_documents, size=(DRAWS, n))
        ]
        for n in DRAWN
    }
    halves = [RNG(seed).permutation(n_documents) for seed in range(DRAWS)]
    draws["random halves"] = [(one[: n_documents // 2], one[n_documents // 2 :]) for one in halves]
    for name, pairs in draws.items():
        for level in LEVELS[kind]:
            of_types = [_draw_type(counts[:, :, k], kind, level, pairs) for k in kinds]
            yield {
                "kind": kind,
                "match": match,
                "level": level,
                "drawn": name,
                "types": [types[k] for k in kinds],
                **{key: [one[key] for one in of_types] for key in of_types[0]},
            }


def _draw_type(
    counts: NDArray[np.int64], kind: Kind, level: float, pairs: Sequence[Pair]
) -> dict[str, Any]:
    """Of one type: the shares of all draws in which something is promised, in which the promise is
    broken, and in which a setting is broken that is the cheapest to have the level in the
    calibration documents. Then the mean costs where something is promised: of all mentions the
    recall and precision, beside those of the present setting.

    counts (int [S, D, 3]): Of the settings, from the safest to the present one.
    pairs (Sequence[Tuple[int [n], int [m]]]): Calibration documents and those that stand for new.
    """
    losses, has_any = _losses(counts, kind)
    values = BONUSES if kind == "recall" else CONFIDENCES
    starts = np.arange(len(values)) == 0 if kind == "recall" else confidence_starts(values)
    promised, broken, naive, costs = 0, 0, 0, []
    for drawn, new in pairs:
        truth = _means(losses[:, new], has_any[:, new])
        sweep = Sweep(kind, ("",), values, starts, counts[:, drawn, None])
        passed = np.flatnonzero(sweep.certified(0, level, RISK))
        if len(passed):
            promised += 1
            broken += bool(truth[passed[-1]] > 1 - level)
            costs.append(pooled(counts[passed[-1]]))
        seen = np.flatnonzero(_means(losses[:, drawn], has_any[:, drawn]) <= 1 - level)
        naive += bool(len(seen) and truth[seen[-1]] > 1 - level)
    n = len(pairs)
    recall, precision = np.mean(costs, axis=0).tolist() if costs else (None, None)
    before = [float(value) for value in pooled(counts[-1])]
    return {
        "with_mentions": int((counts[0, :, GOLD] > 0).sum()),
        "promised": promised / n,
        "broken": broken / n,
        "naive_broken": naive / n,
        "recall": recall,
        "precision": precision,
        "recall_before": before[0],
        "precision_before": before[1],
    }


def _losses(counts: NDArray[np.int64], kind: Kind) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The losses of the documents with each setting, float64 [S, D], and which have any."""
    whole = counts[:, :, WHOLE[kind]]
    return 1 - counts[:, :, MATCHED] / np.maximum(whole, 1), whole > 0


def _means(losses: NDArray[np.float64], has_any: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The mean loss of each setting, float64 [S]; 1 without a document that has any."""
    n = has_any.sum(axis=1)
    return np.where(n > 0, (losses * has_any).sum(axis=1) / np.maximum(n, 1), 1.0)


if __name__ == "__main__":
    command, *paths = sys.argv[1], *map(Path, sys.argv[2:])
    if command == "count":
        count(*paths)
    else:
        {"draw": draw, "openmed": openmed}[command](paths[:-1], paths[-1])
