"""`python -m spacy btl fit`: from annotated notes to a packaged pipeline, in one command."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import INTERRUPTED, btl, exits_on_error, warn
from spacy_btl.cli.convert import (
    ANNOTATOR,
    LAYER,
    PATIENTS,
    SKIP_INVALID,
    TRUST_OFFSETS,
    names_in,
    print_report,
    report_warnings,
)
from spacy_btl.errors import in_words
from spacy_btl.fit.progress import Listener

if TYPE_CHECKING:
    from spacy_btl.corpora.report import ConversionReport
    from spacy_btl.fit.choices import Choice

REMEDY = "With --overlapping, those that overlap a mention of another type are learned, too."


class EffortOption(StrEnum):
    """The values of --effort."""

    small = "small"
    standard = "standard"
    large = "large"


@btl.command("fit")
@exits_on_error
def fit_cli(
    notes: Path = typer.Argument(..., help="Annotated notes: what `btl convert` reads"),
    output: Path = typer.Argument(..., help="A folder for the pipeline, its report and its wheel"),
    effort: EffortOption = typer.Option("standard", help="How long to train"),
    encoder: str | None = typer.Option(
        None, help="A folder or a Hugging Face name, if not the packaged MiniLM"
    ),
    lang: str | None = typer.Option(None, help="The language of the notes, as spaCy calls it"),
    min_mentions: int | None = typer.Option(None, min=1, help="Drop types with fewer mentions"),
    overlapping: bool | None = typer.Option(
        None, "--overlapping/--no-overlapping", help="Whether mentions may overlap (spans_key)"
    ),
    max_steps: int | None = typer.Option(None, min=1, help="Steps of the training of a network"),
    gpu_id: int | None = typer.Option(None, "--gpu-id", "-g", help="The GPU, or -1 for the CPU"),
    seed: int = typer.Option(0, min=0, help="Seed of the split, the training and the intervals"),
    name: str | None = typer.Option(None, help="The name of the package, without its language"),
    version: str = typer.Option("0.1.0", help="The version of the package"),
    patients: Path | None = PATIENTS,
    skip_invalid: bool = SKIP_INVALID,
    trust_offsets: bool = TRUST_OFFSETS,
    annotator: str | None = ANNOTATOR,
    layer: str | None = LAYER,
    card: Path | None = typer.Option(None, help="The YAML file of the model card"),
    sections: bool = typer.Option(False, help="Also mark headings, and give entities a section"),
    context: bool = typer.Option(False, help="Also mark negated, uncertain and past entities"),
) -> None:
    """Train, calibrate, measure and package on annotated notes.

    Everything that is not given is chosen, and printed with its reason. Stop it at any moment: the
    same command goes on, and finished steps are not repeated. After a change of the notes or of an
    option, the steps that depend on it are done again. OUTPUT/pipeline is the pipeline,
    OUTPUT/report.html its evaluation, and OUTPUT/packages has its wheel.
    """
    from spacy_btl.fit.choices import Options
    from spacy_btl.fit.fit import fit

    options = Options(
        effort=effort.value,
        encoder=encoder,
        lang=lang,
        min_mentions=min_mentions,
        overlapping=overlapping,
        max_steps=max_steps,
        gpu=gpu_id,
        seed=seed,
        name=name,
        version=version,
        patients=patients,
        skip_invalid=skip_invalid,
        trust_offsets=trust_offsets,
        annotator=annotator,
        layers=tuple(names_in(layer or "")),
        card=card,
        sections=sections,
        context=context,
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[left]}"),
    )
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            lines = fit(notes, output, options, _Printer(progress))
    except KeyboardInterrupt:
        warn("Stopped. The same command goes on: finished steps are kept.")
        raise typer.Exit(INTERRUPTED) from None
    typer.echo()
    for line in lines:
        # Whole lines, since paths and commands are copied from them.
        typer.echo(line)


class _Printer(Listener):
    """Prints what a run tells."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task: TaskID = progress.add_task("convert", total=1.0, left="")

    def on_step(self, name: str, why: str) -> None:
        self.progress.update(self.task, description=name)
        msg.info(f"{name}, again: {why}" if why else name)

    def on_converted(self, report: "ConversionReport", min_mentions: int) -> None:
        print_report(report)
        for warning in report_warnings(report, min_mentions, remedy=REMEDY):
            msg.warn(warning)

    def on_choices(self, chosen: dict[str, "Choice"]) -> None:
        table = Table("choice", "is", "because", box=None)
        table.columns[1].overflow = "fold"
        for name, choice in chosen.items():
            table.add_row(name, _shown(choice.value), choice.reason)
        Console(markup=False).print(table)

    def on_caution(self, text: str) -> None:
        msg.warn(text)

    def on_estimate(self, text: str) -> None:
        msg.info(text)

    def on_progress(self, done: float, left: float | None) -> None:
        shown = "" if left is None else f"left: {in_words(left)}"
        self.progress.update(self.task, completed=done, left=shown)


def _shown(value: object) -> str:
    """A value, as a reader takes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " and ".join(map(str, value))
    return str(value)
