"""Evaluate a pipeline on held-out documents."""

import warnings
from dataclasses import asdict
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Corpus

from spacy_btl.about import __version__
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import BtlWarning, CorpusError, PipelineError
from spacy_btl.evaluation.mistakes import Explain, worst_errors
from spacy_btl.evaluation.predictions import find_group, predict
from spacy_btl.evaluation.summary import summarize
from spacy_btl.mentions import mention_types
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.metrics.significance import compare, require_statsmodels
from spacy_btl.pipeline.explanation import top_neighbors
from spacy_btl.pipeline.knn_calibrator import find_calibrator
from spacy_btl.pipeline.thresholds import Thresholds, set_thresholds
from spacy_btl.pipelines import fingerprint, load_pipeline, model_name
from spacy_btl.training.trained_on import warn_of_trained_on

NEIGHBORS = 5  # of each error


def evaluate(
    model: str,
    corpus: Path,
    *,
    versus: str | None = None,
    seed: int = 0,
    with_text: bool = False,
    thresholds: Thresholds | None = None,
) -> dict[str, Any]:
    """Compute the scores of a pipeline, and compare it with another.

    model (str): A package name or a folder.
    corpus (Path): The `.spacy` file of held-out documents.
    versus (Optional[str]): Another pipeline, to compare with.
    seed (int): Of the bootstrap and of the randomization test.
    with_text (bool): Whether to return the worst errors, which quote the notes.
    thresholds (Optional[Thresholds]): In place of the `min_confidence` of the pipeline, and of the
        other.
    RETURNS (Dict[str, Any]): What `summary.summarize` returns, with `model` (a name and a version),
        `model_files` (a fingerprint of the pipeline's files), `pipeline` (both, its folder or
        package, and the settings of its calibrator), `corpus` (its file and a fingerprint of it),
        `date`, `spacy_btl` (the version), `versus` (None, or the other `model`, its `pipeline`, and
        its `scores`: see `significance.compare`) and, only if asked, `errors` (see
        `mistakes.worst_errors`). Plain JSON.
    RAISES: BtlError, for a model or corpus that cannot be used, a corpus without entities, a model
        that finds none, or two that cannot be compared.

    >>> from spacy_btl import evaluate
    >>> results = evaluate("calibrated", Path("held_out.spacy"))
    """
    nlp = load_pipeline(model)
    other = None
    if versus is not None:  # not after minutes of scoring
        require_statsmodels()
        other = load_pipeline(versus)
    if thresholds is not None:
        for each in filter(None, (nlp, other)):
            set_thresholds(each, thresholds)
    predictions, docs = _predictions(nlp, model, corpus)
    metrics = {
        "model": " ".join(model_name(nlp)),
        "model_files": fingerprint(nlp.path),
        "pipeline": _described(nlp, model),
        "corpus": {"file": str(corpus), "fingerprint": _file_fingerprint(corpus)},
        "date": date.today().isoformat(),
        "spacy_btl": __version__,
        **summarize(predictions, seed=seed),
        "versus": None,
    }
    if versus is not None and other is not None:
        theirs, _ = _predictions(other, versus, corpus)
        metrics["versus"] = {
            "model": " ".join(model_name(other)),
            "pipeline": _described(other, versus),
            "scores": compare(predictions, theirs, seed=seed),
        }
    if with_text:
        metrics["errors"] = worst_errors(predictions, docs, _explain_by(nlp))
    return metrics


def _described(nlp: Language, model: str) -> dict[str, Any]:
    """The pipeline and the settings of its calibrator."""
    name, version = model_name(nlp)
    pipe = find_calibrator(nlp)
    return {
        "name": name,
        "version": version,
        "folder": model,
        "fingerprint": fingerprint(nlp.path),
        "settings": None if pipe is None else asdict(pipe.calibrator.settings),
        "calibrated": pipe is not None and pipe.calibrator.maps is not None,
    }


def _file_fingerprint(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _explain_by(nlp: Language) -> Explain | None:
    """A function that finds the nearest neighbours of a span; None without them."""
    pipe = find_calibrator(nlp)
    if pipe is None or not pipe.calibrator.settings.knn_weight:
        return None

    def explain(gold: Span) -> list[dict[str, Any]]:
        doc = nlp.make_doc(gold.doc.text)
        borders = gold.start_char, gold.end_char
        span = doc.char_span(*borders, label=gold.label_, alignment_mode="expand")
        assert span is not None
        return [asdict(one) for one in top_neighbors(pipe.explain(span), NEIGHBORS)]

    return explain


def _predictions(nlp: Language, model: str, corpus: Path) -> tuple[Predictions, list[Doc]]:
    """Predictions on a corpus, and its documents."""
    docs = [doc for doc in read_docs(corpus, nlp.vocab) if len(doc)]
    group = find_group(nlp)
    types = {ent.label_ for doc in docs for ent in doc.ents}
    if group is not None:
        types |= set().union(*(mention_types(doc, group.key_of_gold(doc)) for doc in docs))
    if not types:
        raise CorpusError(f"{corpus}: has no entity, so there is nothing to score.")
    warn_of_trained_on(nlp, docs, corpus)
    predictions = predict(nlp, Corpus(corpus).make_examples(nlp, docs), taus=True)
    if group is None and not len(predictions.predicted_ents) and not _finds_entities(nlp):
        raise PipelineError(f"No pipe of '{model}' finds entities: {nlp.pipe_names}.")
    _warn_of_unknown(types, nlp, model)
    return predictions, docs


def _finds_entities(nlp: Language) -> bool:
    return any("doc.ents" in nlp.get_pipe_meta(name).assigns for name in nlp.pipe_names)


def _warn_of_unknown(types: set[str], nlp: Language, model: str) -> None:
    known = {label for labels in nlp.pipe_labels.values() for label in labels}
    unknown = ", ".join(map(repr, sorted(types - known)))
    if unknown:
        warnings.warn(
            f"The evaluation data holds entity types that '{model}' does not know: {unknown}. "
            "Their mentions count as missed.",
            BtlWarning,
            stacklevel=2,
        )
