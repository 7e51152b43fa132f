"""What `nlp.pipe` costs, beside the bare encoder and other libraries' pipelines, and how often what
is fast agrees with what is exact."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import spacy
import torch
from numpy.typing import NDArray
from spacy.language import Language

from bench.material import Setup, with_repeats
from bench.others import EDS_BATCH, edsnlp_case, huggingface_case, spancat_pipeline
from bench.pipelines import (
    CALIBRATOR,
    encoder_name,
    encoder_of,
    read_by,
    run,
    seen_precision,
    store_of,
    window_of,
    words_of,
)
from bench.plain_torch import bare_passes, run_bare
from bench.ratios import Case, Ratio, UnavailableError, figures, in_turn, pairwise
from bench.search import EXACT, OURS
from spacy_btl.calibration import calibrator
from spacy_btl.models.passes import cpu_has_bfloat16
from spacy_btl.search import ivf

PER_PASS = 16  # windows in a pass of the bare encoder
SLOW_REPEATS = 2
MIXED = (1, 8, 2, 16, 4)  # lines of a note, from one sentence to a page
NOTE = 1000  # characters of a note that a long one is cut into
NAME = "agreement"
SEARCH = f"components.{CALIBRATOR}.search.@misc"
BFLOAT16 = "components.transformer.model.predict_bfloat16"
NEAR = 0.01
NEARER = 0.6  # of how far a list is taken to extend


def _measured(
    setup: Setup, nlp: Language, name: str, other: Callable[[torch.dtype], Case]
) -> tuple[dict[str, list[float]], str]:
    """The seconds of `nlp.pipe` and of another case, which gets the same precision."""
    with seen_precision(nlp) as precision:
        run(nlp, setup.texts[:1])
    cases = {"ours": lambda: run(nlp, setup.texts), name: other(precision())}
    taken = in_turn(cases, setup.repeats)
    return taken, str(precision()).removeprefix("torch.")


def over_encoder(setup: Setup, nlp: Language) -> Ratio:
    """The whole pipeline, and the encoder alone on the same wordpieces."""
    encoder = encoder_of(nlp)
    tokenizer = nlp.get_pipe("transformer").model.tokenizer
    passes = bare_passes(setup.texts, tokenizer, window_of(nlp), PER_PASS)

    def bare(precision: torch.dtype) -> Case:
        return lambda: run_bare(encoder, passes, precision)

    taken, precision = _measured(setup, nlp, "encoder", bare)
    words = words_of(setup.texts)
    return Ratio(
        pairwise(taken["ours"], taken["encoder"]),
        f"{read_by(nlp, setup.texts)}, {precision}, {store_of(nlp)}; bare encoder: all "
        f"wordpieces end to end in windows of {window_of(nlp)}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def over_bfloat16(setup: Setup) -> Ratio:
    """The whole pipeline, and the same with `predict_bfloat16`."""
    nlp, fast = setup.pipeline(), setup.pipeline(predict_bfloat16=True)
    with seen_precision(fast) as precision:
        run(fast, setup.texts[:1])
    if precision() != torch.bfloat16:
        raise UnavailableError("bfloat16 arithmetic on this processor")
    sides = {"float32": nlp, "bfloat16": fast}
    cases = {name: partial(run, pipeline, setup.texts) for name, pipeline in sides.items()}
    taken = in_turn(cases, setup.repeats)
    words = words_of(setup.texts)
    return Ratio(
        pairwise(taken["float32"], taken["bfloat16"]),
        f"{read_by(nlp, setup.texts)}, {store_of(nlp)}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def overlapping_over_flat(setup: Setup) -> Ratio:
    """Pipelines of the same notes, trained and calibrated with `spans_key` and without."""
    sides = {"spans_key": spacy.load(setup.overlapping_path), "flat": setup.trained()}
    cases = {name: partial(run, nlp, setup.texts) for name, nlp in sides.items()}
    taken = in_turn(cases, setup.repeats)
    words = words_of(setup.texts)
    stores = "; ".join(f"{name}: {store_of(nlp)}" for name, nlp in sides.items())
    return Ratio(
        pairwise(taken["spans_key"], taken["flat"]),
        f"{read_by(sides['flat'], setup.texts)}; {stores}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def against_spancat(setup: Setup) -> Ratio:
    """Words per second: ours with `spans_key`, calibrated, over spaCy's `spancat`."""
    ours, (spancat, longest) = spacy.load(setup.overlapping_path), spancat_pipeline(setup)
    cases = {
        "ours": partial(run, ours, setup.texts),
        "spancat": partial(run, spancat, setup.texts),
    }
    taken = in_turn(cases, setup.repeats)
    words = words_of(setup.texts)
    return Ratio(
        pairwise(taken["spancat"], taken["ours"]),
        f"{read_by(ours, setup.texts)}, {store_of(ours)}; spancat: all spans of up to {longest} "
        "tokens, which cover 99% of the mentions",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def against_huggingface(setup: Setup) -> Ratio:
    """Words per second: ours over the pipeline of transformers with the same weights."""
    nlp = setup.pipeline()
    model, batch_size = str(setup.model_path), nlp.batch_size
    window = window_of(nlp)
    overlap = nlp.config["components"]["transformer"]["model"].get("overlap") or window // 8

    def case(precision: torch.dtype) -> Case:
        checkpoint = setup.work / "checkpoint"
        sizes = {"window": window, "overlap": overlap, "batch_size": batch_size}
        return huggingface_case(setup, model, checkpoint, precision, **sizes)

    taken, precision = _measured(setup, nlp, "Hugging Face", case)
    words = words_of(setup.texts)
    return Ratio(
        pairwise(taken["Hugging Face"], taken["ours"]),
        f"{read_by(nlp, setup.texts)}, {precision}, batch size "
        f"{batch_size}; Hugging Face: stride {overlap} in windows of {window}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def against_edsnlp(setup: Setup) -> Ratio:
    """Words per second: ours over EDS-NLP with the same encoder and head."""
    nlp = setup.pipeline()
    window = window_of(nlp)
    overlap = nlp.config["components"]["transformer"]["model"].get("overlap") or window // 8

    def case(precision: torch.dtype) -> Case:
        model, checkpoint = str(setup.model_path), setup.work / "checkpoint"
        return edsnlp_case(setup, model, checkpoint, precision, window=window, overlap=overlap)

    taken, precision = _measured(setup, nlp, "EDS-NLP", case)
    words = words_of(setup.texts)
    return Ratio(
        pairwise(taken["EDS-NLP"], taken["ours"]),
        f"{read_by(nlp, setup.texts)}, {precision}; EDS-NLP: "
        f"eds.transformer and eds.ner_crf, windows of {window} with stride {window - overlap}, "
        f"batches of {EDS_BATCH}, sorted by length",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def long_note(setup: Setup) -> Ratio:
    """A note of a million characters, and the same text as notes of a thousand."""
    setup = with_repeats(setup, SLOW_REPEATS)
    nlp = setup.pipeline()
    whole = "\n".join(doc.text for doc in setup.docs)
    whole = (whole * (setup.characters // len(whole) + 1))[: setup.characters]
    notes = list(_cut(whole))
    run(nlp, notes[:50])
    cases = {"one note": lambda: run(nlp, [whole]), "many notes": lambda: run(nlp, notes)}
    taken = in_turn(cases, setup.repeats, warm_up=0)
    words = words_of([whole])
    return Ratio(
        pairwise(taken["one note"], taken["many notes"]),
        f"{encoder_name(nlp)}, {len(whole):,} characters, as one note and as {len(notes):,}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def _cut(text: str) -> Iterator[str]:
    """Notes of about NOTE characters, that end between words."""
    while text:
        end = text.rfind(" ", 0, NOTE) + 1 if len(text) > NOTE else len(text)
        yield text[: end or NOTE]
        text = text[end or NOTE :]


@dataclass(frozen=True)
class Reading:
    """Entity types (int [N]) and probabilities (float32 [N, C] or [N, K, S]) of tokens of notes."""

    types: NDArray[np.integer]
    p: NDArray[np.float32]


def measure(setup: Setup) -> list[dict[str, Any]]:
    """The search in clusters and bfloat16, against the exact search and float32."""
    flat = setup.model_path
    rows = _by_search(setup, flat, "")
    if setup.gpu_id < 0 and cpu_has_bfloat16():
        exact, fast = _load(flat, EXACT), _load(flat, EXACT, **{BFLOAT16: True})
        found = _compare(_read(fast, setup.texts), _read(exact, setup.texts))
        rows.append({"what": "predict_bfloat16", **found})
    with suppress(UnavailableError):
        rows += _by_search(setup, setup.overlapping_path, ", overlapping mentions")
    return rows


def _by_search(setup: Setup, path: Path, mode: str) -> list[dict[str, Any]]:
    """A pipeline as it is, and with each of its short cuts alone, against the exact search."""
    nlp = _load(path, EXACT)
    exact, found = _read(nlp, setup.texts), _read(_load(path, OURS), setup.texts)
    with patch.object(calibrator, "SURE", math.inf):  # of none
        lists = _read(_load(path, OURS), setup.texts)
        with patch.object(ivf, "REACH", NEARER):
            nearer = _read(_load(path, OURS), setup.texts)
    rows = f"{len(nlp.get_pipe(CALIBRATOR).calibrator.datastore.tags):,} rows{mode}"
    readings = {
        f"{OURS}, {rows}": found,
        f"{OURS} of all tokens, {rows}": lists,
        f"{OURS} of all tokens, {rows}, REACH = {NEARER}": nearer,
    }
    return [{"what": what, **_compare(reading, exact)} for what, reading in readings.items()]


def _load(path: Path, search: str, **overrides: Any) -> Language:
    return spacy.load(path, config={SEARCH: search, **overrides})


def _read(nlp: Language, texts: Iterable[str]) -> Reading:
    docs = list(nlp.pipe(texts, disable=["doc_cleaner"]))
    types = np.concatenate([doc.to_array("ENT_TYPE") for doc in docs])
    return Reading(types, np.concatenate([doc._.token_probabilities for doc in docs]))


def _compare(found: Reading, exact: Reading) -> dict[str, float]:
    differences = np.abs(found.p - exact.p).reshape(len(exact.p), -1)
    return {
        "tokens": len(exact.types),
        "same_label": float((found.types == exact.types).mean()),
        "near": float((differences.max(axis=1) <= NEAR).mean()),
    }


RATIOS: dict[str, Callable[[Setup], Ratio]] = {
    "pipe_over_encoder": lambda setup: over_encoder(setup, setup.pipeline()),
    "pipe_over_encoder_no_overlap": lambda setup: over_encoder(setup, setup.pipeline(overlap=0)),
    "pipe_over_encoder_base": lambda setup: over_encoder(*setup.base_pipeline()),
    "pipe_overlapping_over_flat": overlapping_over_flat,
    "pipe_fp32_over_bfloat16": over_bfloat16,
    "pipe_vs_hf": against_huggingface,
    "pipe_vs_hf_mixed": lambda setup: against_huggingface(replace(setup, lines=MIXED)),
    "pipe_vs_edsnlp": against_edsnlp,
    "pipe_vs_spancat": against_spancat,
    "long_note": long_note,
}
