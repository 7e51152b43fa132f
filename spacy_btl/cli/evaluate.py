"""`python -m spacy btl evaluate`: measure a pipeline on held-out documents, type by type."""

import json
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import (
    FORCE,
    MIN_CONFIDENCE,
    btl,
    exits_on_error,
    refuse_to_replace,
    warn,
)
from spacy_btl.errors import counted

SHOWN = 8  # characters of a fingerprint


@btl.command("evaluate")
@exits_on_error
def evaluate_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    corpus: Path = typer.Argument(..., help="The .spacy file of held-out documents"),
    output: Path | None = typer.Option(
        None, help="A folder for metrics.json and report.html, a page for readers"
    ),
    versus: str | None = typer.Option(None, help="Another pipeline, to compare with"),
    min_confidence: list[str] = MIN_CONFIDENCE,
    with_text: bool = typer.Option(
        False, "--with-text", help="Show the worst errors in the report: it then quotes the notes"
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the bootstrap and of the test"),
    force: bool = FORCE,
) -> None:
    """Measure a pipeline on held-out documents.

    Type by type, the rarest first. An entity is correct if its boundaries and its type both are.
    Where predicted mentions can overlap (spans_key, spancat), all mentions are scored.
    UAR is the mean token recall of the classes, O included; ECE is the expected calibration error.
    The 95% intervals are from a bootstrap over documents, or over patients if the corpus names
    them. Intervals of few mentions are Wilson's.
    """
    from spacy_btl.errors import BtlError
    from spacy_btl.evaluation.evaluate import evaluate
    from spacy_btl.evaluation.report import require_extra, write_report
    from spacy_btl.files import write_file
    from spacy_btl.pipeline.thresholds import read_thresholds

    if output is None and with_text:
        raise BtlError("--with-text is for the report: say where to write it with --output DIR.")
    if output is not None:
        refuse_to_replace(output / "metrics.json", output / "report.html", force=force)
        require_extra()
    msg.info(f"Scoring {model} on {corpus}")
    thresholds = read_thresholds(min_confidence)
    metrics = evaluate(
        model, corpus, versus=versus, seed=seed, with_text=with_text, thresholds=thresholds
    )
    errors = metrics.pop("errors", None)
    print_metrics(metrics)
    if output is not None:
        write_file(output / "metrics.json", json.dumps(metrics, indent=2).encode("utf-8"))
        write_report(metrics, output / "report.html", errors)
        msg.good(f"Wrote {output / 'metrics.json'} and {output / 'report.html'}")


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print a row per entity type, then the scores over all of them."""
    from spacy_btl.metrics.measures import MEASURES, headline

    types = _table("type", "mentions", "precision", "recall", "F1")
    kind = "spans_btl" if metrics["overlapping"] else "ents"
    for label, row in metrics["types"].items():
        values = (f"{row[f'{kind}_{letter}']['value']:.1%}" for letter in "prf")
        types.add_row(label, f"{row['support']:,}", *values)
    summary = _table("", "", "95% interval")
    for name, measure in headline(metrics["scores"]).items():
        row = metrics["scores"][name]
        summary.add_row(
            measure.title, f"{row['value']:.1%}", f"{row['low']:.1%} to {row['high']:.1%}"
        )
    for things, name in {"entities": "ents_ece", "mentions": "spans_btl_ece"}.items():
        if metrics["calibration"].get(things) is not None and name not in metrics["scores"]:
            summary.add_row(MEASURES[name].title, "n/a", "none is correct")
    console = Console(markup=False)  # a type in brackets is no markup of rich
    console.print(types)
    of = f" of {counted(metrics['patients'], 'patient')}" if metrics["patients"] else ""
    scored = metrics["annotated" if metrics["overlapping"] else "mentions"]
    console.print(
        f"\n {counted(scored, 'mention')} in {counted(metrics['documents'], 'document')}{of}"
    )
    lost = metrics["annotated"] - scored
    if lost:
        console.print(
            f" {metrics['annotated']:,} are annotated: {lost:,} overlap these, and one label per "
            "token cannot express them"
        )
    console.print(summary)
    if metrics["versus"] is not None:
        console.print(f"\n Differences to {_name(metrics['versus']['pipeline'])}, in points")
        console.print(_comparison(metrics["versus"]["scores"]))
    corpus = metrics["corpus"]
    console.print(f"\n pipeline: {_name(metrics['pipeline'])}")
    console.print(f" settings: {_settings(metrics['pipeline'])}")
    console.print(f" corpus: {corpus['file']}, fingerprint {corpus['fingerprint'][:SHOWN]}\n")
    for caution in metrics["cautions"]:
        warn(caution)


def _name(pipeline: dict[str, Any]) -> str:
    short = pipeline["fingerprint"][:SHOWN]
    return f"{pipeline['name']} {pipeline['version']} ({pipeline['folder']}, fingerprint {short})"


def _settings(pipeline: dict[str, Any]) -> str:
    if pipeline["settings"] is None:
        return "no calibrator"
    settings = ", ".join(f"{name} {value}" for name, value in pipeline["settings"].items())
    return settings + ("" if pipeline["calibrated"] else "; confidence not calibrated")


def _comparison(differences: dict[str, dict[str, float]]) -> Table:
    from spacy_btl.metrics.measures import MEASURES

    table = _table("", "", "95% interval", "p (Holm)")
    for name, row in differences.items():
        difference, low, high = (f"{100 * row[key]:+.1f}" for key in ("difference", "low", "high"))
        table.add_row(MEASURES[name].title, difference, f"{low} to {high}", f"{row['p_holm']:.4f}")
    return table


def _table(*columns: str) -> Table:
    table = Table(*columns, box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    return table
