"""What `nlp.pipe` costs, beside the bare encoder, and beside other libraries' pipelines."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from spacy.language import Language

from bench.material import (
    Setup,
    encoder_of,
    seen_precision,
    window_of,
    with_repeats,
    words_of,
)
from bench.others import EDS_BATCH, edsnlp_case, huggingface_case
from bench.plain_torch import bare_passes, run_bare
from bench.ratios import Case, Ratio, UnavailableError, figures, in_turn, pairwise

PER_PASS = 16  # windows in a pass of the bare encoder
SLOW_REPEATS = 2
BASE_NOTES = 8  # the encoder of BioBERT's size has eight times the work
NOTE = 1000  # characters of a note that a long one is cut into


def run(nlp: Language, texts: Iterable[str]) -> None:
    """Annotate and forget."""
    deque(nlp.pipe(texts), maxlen=0)


def _measured(
    setup: Setup, nlp: Language, name: str, other: Callable[[torch.dtype], Case]
) -> tuple[dict[str, list[float]], str]:
    """The seconds of `nlp.pipe` and of another case, which gets the same precision."""
    with seen_precision(nlp) as precision:
        run(nlp, setup.texts[:1])
    cases = {"ours": lambda: run(nlp, setup.texts), name: other(precision())}
    taken = in_turn(cases, setup.repeats)
    return taken, str(precision()).removeprefix("torch.")


def over_encoder(setup: Setup, nlp: Language, name: str) -> Ratio:
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
        f"{name}, {len(setup.texts)} notes of {words:,} words, {precision}, {_store(nlp)}; bare "
        f"encoder: all wordpieces end to end in windows of {window_of(nlp)}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def _store(nlp: Language) -> str:
    calibrator = nlp.get_pipe("knn_calibrator")
    search = nlp.config["components"]["knn_calibrator"]["search"]["@misc"]
    return f"{len(calibrator.store.tags):,} labelled rows, {search}"


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
        f"MiniLM, {len(setup.texts)} notes of {words:,} words, {precision}, batch size "
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
        f"MiniLM, {len(setup.texts)} notes of {words:,} words, {precision}; EDS-NLP: "
        f"eds.transformer and eds.ner_crf, windows of {window} with stride {window - overlap}, "
        f"batches of {EDS_BATCH}, sorted by length",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def knn_share(setup: Setup) -> Ratio:
    """The share of the time of `nlp.pipe` that is spent on neighbours and their votes."""
    nlp = setup.pipeline()
    run(nlp, setup.texts)
    shares, whole, parts = [], [], []
    for _ in range(setup.repeats):
        with _timed(nlp.get_pipe("knn_calibrator"), "neighbor_probabilities") as spent:
            begin = time.perf_counter()
            run(nlp, setup.texts)
            whole.append(time.perf_counter() - begin)
        if not spent:
            raise UnavailableError(
                f"{setup.model_path}: its calibrator asks no neighbours (mix = 0)"
            )
        parts.append(sum(spent))
        shares.append(parts[-1] / whole[-1])
    words = words_of(setup.texts)
    return Ratio(
        shares,
        f"MiniLM, {len(setup.texts)} notes of {words:,} words, {_store(nlp)}; search, votes and "
        "smoothing, of all of nlp.pipe",
        {"kNN": figures(parts, words), "nlp.pipe": figures(whole, words)},
    )


@contextmanager
def _timed(holder: object, name: str) -> Iterator[list[float]]:
    """The seconds of each call of a method, meanwhile."""
    spent: list[float] = []
    method = getattr(holder, name)

    def timed(*args: object, **kwargs: object) -> object:
        begin = time.perf_counter()
        try:
            return method(*args, **kwargs)
        finally:
            spent.append(time.perf_counter() - begin)

    setattr(holder, name, timed)
    try:
        yield spent
    finally:
        delattr(holder, name)


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
        f"MiniLM, {len(whole):,} characters, {words:,} words, as one note and as {len(notes):,}",
        {side: figures(seconds, words) for side, seconds in taken.items()},
    )


def _cut(text: str) -> Iterator[str]:
    """Notes of about NOTE characters, that end between words."""
    while text:
        end = text.rfind(" ", 0, NOTE) + 1 if len(text) > NOTE else len(text)
        yield text[: end or NOTE]
        text = text[end or NOTE :]


RATIOS: dict[str, Callable[[Setup], Ratio]] = {
    "pipe_over_encoder": lambda setup: over_encoder(setup, setup.pipeline(), "MiniLM"),
    # Untrained: its kNN votes on logits that say nothing, so that no short cut can be taken.
    "pipe_over_encoder_base": lambda setup: over_encoder(
        replace(setup, n_notes=BASE_NOTES),
        setup.calibrated(setup.base, fitted_to=BASE_NOTES),
        "BERT base",
    ),
    "pipe_vs_hf": against_huggingface,
    "pipe_vs_edsnlp": against_edsnlp,
    "knn_share": knn_share,
    "long_note": long_note,
}
