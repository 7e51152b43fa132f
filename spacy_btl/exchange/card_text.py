"""The model card, as Markdown with a front matter that the Hugging Face Hub reads."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined
from spacy.language import Language

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.card_file import CardFile
from spacy_btl.guarantee.promises import MATCHES, WHOLES, read_promises
from spacy_btl.metrics.measures import MEASURES, headline
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import find_calibrator
from spacy_btl.pipelines import base_name, encoders, model_name
from spacy_btl.tags import OUTSIDE, TagScheme

# The names of the metrics that the Hub lists.
HUB_METRICS = {
    "spans_btl_p": "precision",
    "spans_btl_r": "recall",
    "spans_btl_f": "f1",
    "spans_btl_macro_f": "f1",
    "ents_p": "precision",
    "ents_r": "recall",
    "ents_f": "f1",
    "ents_macro_f": "f1",
    "tag_uar": "recall",
    "tag_macro_f": "f1",
}
BANDS = 5  # of confidence, each of them several bins of the evaluation

Metrics = Mapping[str, Any]


def card_text(
    nlp: Language, metrics: Metrics, facts: CardFile, *, versions: Mapping[str, str]
) -> str:
    """The card of a pipeline.

    nlp (Language): The pipeline, with a `btl_ner`.
    metrics (Mapping[str, Any]): The content of `metrics.json`.
    facts (CardFile): What its author writes.
    versions (Mapping[str, str]): Of the packages that it was made with.
    RAISES: PipelineError, for a pipeline without a `btl_ner`.
    """
    environment = Environment(
        loader=PackageLoader("spacy_btl.exchange", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        percent="{:.1%}".format,
        count="{:,}".format,
        cell=lambda text: text.replace("|", "\\|"),
        settings=_settings,
    )
    name, ner = _find_ner(nlp)
    together = nlp.meta.get("ensemble")
    package, version = model_name(nlp)
    counts = _tokens_by_type(ner.tag_scheme, ner.cfg["tag_counts"])
    return environment.get_template("card.md.jinja").render(
        front_matter=_front_matter(package, nlp.meta["lang"], metrics, facts),
        package=package,
        version=version,
        nlp=nlp,
        scheme=ner.tag_scheme,
        spans_key=ner.spans_key,
        kind="spans_btl" if metrics["overlapping"] else "ents",
        losses=nlp.meta.get("averaged") or together or [nlp.get_pipe_config(name)["loss"]],
        mean_of="logits" if together else "weights",
        counts=counts,
        n_tokens=ner.cfg.get("n_tokens", sum(counts.values())),  # a token can be of several types
        encoders=_encoders(nlp, facts),
        calibrator=_calibrator(nlp),
        metrics=metrics,
        measured=_measured(metrics),
        measures=headline(metrics["scores"]),
        unmeasured=sorted(set(ner.labels) - set(metrics["types"])),
        things="mentions" if metrics["overlapping"] else "entities",
        bands=_bands(metrics["calibration"]["mentions" if metrics["overlapping"] else "entities"]),
        promises=read_promises(nlp),
        wholes=WHOLES,
        matches=MATCHES,
        facts=facts,
        versions=versions,
    )


def _measured(metrics: Metrics) -> str:
    """What was measured on what, and when."""
    corpus, files = metrics["corpus"], metrics["model_files"]
    return (
        f"Measured on {metrics['date']} with spacy-btl {metrics['spacy_btl']}: the pipeline of "
        f"fingerprint `{files}` on `{base_name(corpus['file'])}` of fingerprint "
        f"`{corpus['fingerprint']}`."
    )


def _find_ner(nlp: Language) -> tuple[str, BtlNer]:
    for name, pipe in nlp.pipeline:
        if isinstance(pipe, BtlNer):
            return name, pipe
    raise PipelineError(f"The pipeline has no btl_ner, which a card describes: {nlp.pipe_names}.")


def _front_matter(package: str, lang: str | None, metrics: Metrics, facts: CardFile) -> str:
    scores = metrics["scores"]
    results = [
        EvalResult(
            task_type="token-classification",
            task_name="NER",
            dataset_type=re.sub("[^a-z0-9]+", "-", facts.dataset.lower()).strip("-"),
            dataset_name=facts.dataset,
            metric_type=metric,
            metric_name=MEASURES[name].title,
            metric_value=round(scores[name]["value"], 4),
        )
        for name, metric in HUB_METRICS.items()
        if name in scores
    ]
    data = ModelCardData(
        language=lang,
        license=facts.license.lower(),
        library_name="spacy",
        tags=["spacy", "token-classification", "spacy-btl"],
        base_model=facts.base_model or None,
        model_name=package,
        eval_results=results,
    )
    return data.to_yaml()


def _tokens_by_type(scheme: TagScheme, tag_counts: Sequence[int]) -> dict[str, int]:
    """Training tokens of `O` and of each type, whatever the scheme."""
    tokens = scheme.sum_by_type(np.array(tag_counts)).tolist()
    return dict(zip((OUTSIDE, *scheme.types), tokens, strict=True))


def _encoders(nlp: Language, facts: CardFile) -> list[dict[str, Any]]:
    """What each encoder is; of a compiled pipeline, as `btl compile` wrote it down."""
    compiled = nlp.meta.get("compiled")
    if compiled:
        found = [{**compiled["encoder"], "precision": compiled["precision"]}]
    else:
        found = [
            {
                "name": layer.attrs["name"].rstrip("/").split("/")[-1],
                "kind": layer.transformer.config.model_type,
                "parameters": layer.transformer.num_parameters(),
                "precision": "",
            }
            for layer in encoders(nlp)
        ]
    return [{**encoder, "name": facts.base_model or encoder["name"]} for encoder in found]


def _calibrator(nlp: Language) -> dict[str, Any] | None:
    """The settings of the calibrator, and the data that it was fitted to."""
    pipe = find_calibrator(nlp)
    if pipe is None:
        return None
    calibrator = pipe.calibrator
    datastore = calibrator.fitted_datastore()
    return {
        "settings": asdict(calibrator.settings),
        "rows": len(datastore.tags),
        "documents": len(set(datastore.documents.tolist())),
        "map_entities": calibrator.maps and calibrator.maps.confidence.n_entities,
    }


def _settings(block: Mapping[str, Any]) -> str:
    """Settings as a config has them, on one line."""
    return ", ".join(
        f"{key} = {json.dumps(value)}" for key, value in block.items() if not key.startswith("@")
    )


def _bands(bins: Sequence[Metrics] | None) -> list[dict[str, Any]]:
    """Entities by confidence: mean confidence and accuracy."""
    if bins is None:
        return []
    width = len(bins) // BANDS
    rows = []
    for band in range(BANDS):
        filled = [row for row in bins[band * width : (band + 1) * width] if row["n"]]
        n = sum(row["n"] for row in filled)
        if n:
            means = {
                key: sum(row["n"] * row[key] for row in filled) / n
                for key in ("confidence", "accuracy")
            }
            rows.append({"low": band / BANDS, "high": (band + 1) / BANDS, "n": n, **means})
    return rows
