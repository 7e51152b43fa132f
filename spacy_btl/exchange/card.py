"""Save a pipeline for packaging, with a complete `meta.json` and a model card."""

import re
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.card_file import CardFile
from spacy_btl.exchange.card_text import card_text
from spacy_btl.files import read_yaml
from spacy_btl.metrics.measures import KINDS
from spacy_btl.pipelines import (
    fingerprint,
    forget_paths,
    load_pipeline,
    refuse_foreign_folder,
    save_whole,
)

README = "README.md"  # `spacy package` makes it the README of the package
# The scores in `meta.json`.
PERFORMANCE = (
    "spans_btl_f",
    "spans_btl_p",
    "spans_btl_r",
    "spans_btl_macro_f",
    "spans_btl_ece",
    "ents_f",
    "ents_p",
    "ents_r",
    "ents_macro_f",
    "tag_uar",
    "tag_macro_f",
    "tag_ece",
    "ents_ece",
)
# What a card needs of `metrics.json`.
PARTS = {
    *("model_files", "corpus", "date", "spacy_btl", "cautions"),
    *("documents", "patients", "mentions", "annotated", "overlapping", "samples"),
    *("scores", "types", "calibration"),
}
MADE_WITH = ("spacy-btl", "spacy", "spacy-transformers", "transformers", "torch")


def write_card(
    model: str,
    metrics: Path,
    card: Path,
    output: Path,
    *,
    name: str | None = None,
    version: str | None = None,
) -> Language:
    """Save a pipeline with a complete `meta.json` and a `README.md`, its model card.

    All scores are those of the evaluation. No absolute path of this machine is saved.

    model (str): A package name or a folder.
    metrics (Path): The `metrics.json` of its evaluation.
    card (Path): The YAML file that its author writes: see `card_file.CardFile`.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    name (Optional[str]): The name of the package, without its language.
    version (Optional[str]): Its version.
    RAISES: BtlError, if one of these cannot be used, or the metrics are of another pipeline.
    """
    refuse_foreign_folder(output)
    if name is not None and not re.fullmatch(r"\w+", name, re.ASCII):
        raise PipelineError(f"A package cannot be called '{name}': use letters, digits and _.")
    facts = read_yaml(card, CardFile, "card file")
    evaluation = _read_metrics(metrics)
    nlp = load_pipeline(model)
    if evaluation["model_files"] != fingerprint(nlp.path):
        raise PipelineError(
            f"{metrics} measured another pipeline than '{model}', or it has changed since. "
            "Evaluate it again."
        )
    nlp.meta.update(
        name=name or nlp.meta["name"],
        version=version or nlp.meta["version"],
        description=facts.description,
        author=facts.author,
        email=facts.email,
        url=facts.url,
        license=facts.license,
        sources=[source.model_dump() for source in facts.sources],
        performance=_performance(evaluation),
    )
    forget_paths(nlp)
    versions = {package: version_of(package) for package in MADE_WITH}
    text = card_text(nlp, evaluation, facts, versions=versions)
    save_whole(nlp, output, texts={README: text})
    return nlp


def _read_metrics(path: Path) -> dict[str, Any]:
    try:
        metrics = srsly.read_json(path)
    except Exception as error:  # noqa: BLE001 - srsly's reader has several of its own
        raise PipelineError(f"{path}: cannot be read as JSON ({type(error).__name__}).") from None
    if not isinstance(metrics, dict) or not metrics.keys() >= PARTS:
        raise PipelineError(
            f"{path}: not from `python -m spacy btl evaluate`, or from an earlier version of it. "
            "Evaluate the pipeline again, with --output."
        )
    return metrics


def _performance(metrics: dict[str, Any]) -> dict[str, Any]:
    scores, types = metrics["scores"], metrics["types"]
    return {
        **{name: scores[name]["value"] for name in PERFORMANCE if name in scores},
        **{
            f"{kind}_per_type": {
                label: {letter: row[f"{kind}_{letter}"]["value"] for letter in "prf"}
                for label, row in types.items()
            }
            for kind in KINDS
            if f"{kind}_f" in scores
        },
    }
