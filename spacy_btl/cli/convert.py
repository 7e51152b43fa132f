"""`python -m spacy btl convert`: annotated notes of any format to a `.spacy` file."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace
from spacy_btl.errors import counted, listed

if TYPE_CHECKING:
    from spacy_btl.corpora.report import ConversionReport

MOST_TYPES = 40  # to print; the report has all
MAX_LOSS = 0.2  # of the mentions of a type, before a warning
CONVERT_REMEDY = "See --overlaps, --drop-types, and spans_key of btl_ner."

# Options that `fit` has too.
SKIP_INVALID = typer.Option(
    False, "--skip-invalid", help="Skip and count what is invalid, instead of stopping at it"
)
TRUST_OFFSETS = typer.Option(
    False,
    "--trust-offsets",
    help="Accept a mention whose text differs in some characters from that at its offsets",
)
PATIENTS = typer.Option(
    None, help="A CSV file of note_id and patient_id: a split keeps a patient's notes together"
)
ANNOTATOR = typer.Option(
    None, help="Whose annotation to take where several people annotated a document"
)
LAYER = typer.Option(
    None, help="Of INCEpTION: the layers and features that hold the types: LAYER:FEATURE,..."
)


class OverlapsOption(StrEnum):
    """Which of two overlapping mentions to keep."""

    outer = "outer"
    inner = "inner"


@btl.command("convert")
@exits_on_error
def convert_cli(
    src: Path = typer.Argument(..., help="A file, folder or zip archive of annotation"),
    out: Path = typer.Argument(..., help="The .spacy file to write"),
    lang: str = typer.Option("en", help="The language of the spaCy tokeniser"),
    min_mentions: int = typer.Option(1, min=1, help="Drop entity types with fewer mentions"),
    types: str | None = typer.Option(None, help="Keep only these entity types: A,B"),
    drop_types: str | None = typer.Option(None, help="Drop these entity types: A,B"),
    overlaps: OverlapsOption = typer.Option(
        OverlapsOption.outer, help="Which of two overlapping mentions to keep"
    ),
    skip_invalid: bool = SKIP_INVALID,
    trust_offsets: bool = TRUST_OFFSETS,
    patients: Path | None = PATIENTS,
    annotator: str | None = ANNOTATOR,
    layer: str | None = LAYER,
    force: bool = FORCE,
) -> None:
    """Convert annotated notes to .spacy.

    The format is recognised: brat folders; JSON lines {"text", "ents": [[start, end, type], ...]}
    with an optional "id"; exports of Prodigy, doccano, Label Studio, INCEpTION and MedCATtrainer;
    CoNLL, BioC, PubTator, i2b2 XML, Hugging Face's tokens and tags, GLiNER's, spaCy 2's pairs and
    .spacy. INCEpTION's CAS and BioC need an extra, which the error names.

    The tokens of skipped mentions have no annotation; the tokens of dropped types are O. The
    conversion report counts every mention. It is printed, and written beside the output:
    OUT.report.json.
    """
    from spacy_btl.corpora.report import report_file
    from spacy_btl.formats.convert import convert

    refuse_to_replace(out, report_file(out), force=force)
    report = convert(
        src,
        out,
        lang=lang,
        min_mentions=min_mentions,
        types=None if types is None else names_in(types),
        drop_types=names_in(drop_types or ""),
        overlaps=overlaps.value,
        skip_invalid=skip_invalid,
        trust_offsets=trust_offsets,
        patients=patients,
        annotator=annotator,
        layers=names_in(layer or ""),
    )
    print_report(report)
    for warning in report_warnings(report, min_mentions):
        msg.warn(warning)
    if report.expressible.mentions:
        msg.info(str(report.expressible))
    msg.good(f"Wrote {out} and {report_file(out).name}")


def names_in(types: str) -> list[str]:
    """The names in an option's list, which commas divide."""
    return [label.strip() for label in types.split(",") if label.strip()]


def print_report(report: "ConversionReport") -> None:
    """Print the counts of a conversion, and those of each type."""
    console = Console(markup=False)  # rich would take a type in brackets for markup
    table = Table("", "", show_header=False, box=None)
    table.columns[1].justify = "right"
    for label, count in _rows(report):
        table.add_row(label, f"{count:,}")
    console.print(f"Read as {report.format}.")
    console.print(table)
    console.print(_mentions_table(report))
    console.print(_types_table(report))
    if report.agreement:
        console.print(_agreement_table(report))


def _rows(report: "ConversionReport") -> Iterator[tuple[str, int]]:
    yield "notes read", report.notes_read
    for reason, count in report.notes_skipped.items():
        yield f"  - skipped: {reason}", count
    yield "= notes written", report.notes_written
    for reason, count in report.lines_skipped.items():
        yield f"lines skipped: {reason}", count
    yield "types kept", len(report.types_kept)
    yield (
        "types dropped",
        sum(bool(type_.too_rare or type_.excluded) for type_ in report.types.values()),
    )
    yield "tokens", report.tokens
    yield "    of these without annotation, not trained on or scored", report.tokens_missing
    for kind, count in report.assertions.items():
        yield f"assertions: {kind}", count
    yield from report.remarks.items()


def _mentions_table(report: "ConversionReport") -> Table:
    """The mentions by what became of them, as a pipeline with one label per token has them, and as
    one with `spans_key`."""
    table = Table("", "one label", "spans_key", box=None)
    for column in table.columns[1:]:
        column.justify = "right"

    def add(label: str, flat: int, overlapping: int) -> None:
        table.add_row(label, f"{flat:,}", f"{overlapping:,}")

    add("mentions read", *2 * [report.total("read")])
    add("  - dropped: type too rare", *2 * [report.total("too_rare")])
    if report.total("excluded"):
        add("  - dropped: type excluded", *2 * [report.total("excluded")])
    for reason, count in [*report.mentions_rejected.items(), *report.mentions_invalid.items()]:
        add(f"  - skipped: {reason}", count, count)
    flat, overlapping = report.flat, report.overlapping
    for reason in sorted({*flat.lost, *overlapping.lost}):
        add(f"  - left out: {reason}", flat.lost[reason], overlapping.lost[reason])
    add("= mentions kept", report.total("kept"), report.total("told_apart"))
    add("    of these moved to token boundaries", flat.moved, overlapping.moved)
    add(
        "    of these discontinuous, as their enclosing span",
        flat.discontinuous,
        overlapping.discontinuous,
    )
    if flat.gapped or overlapping.gapped:
        add("        of these around other words", flat.gapped, overlapping.gapped)
    return table


def _types_table(report: "ConversionReport") -> Table:
    table = Table("type", "read", "kept", "spans_key", "dropped", "overlap", "skipped", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    table.columns[0].overflow = "fold"
    by_frequency = sorted(report.types.items(), key=lambda item: (-item[1].read, item[0]))
    for label, type_ in by_frequency[:MOST_TYPES]:
        dropped, skipped = type_.too_rare + type_.excluded, type_.invalid + type_.rejected
        kept = (type_.kept, type_.told_apart)
        counts = (type_.read, *kept, dropped, type_.overlapped, skipped)
        table.add_row(label or "(no type)", *(f"{count:,}" for count in counts))
    if len(by_frequency) > MOST_TYPES:
        more = len(by_frequency) - MOST_TYPES
        table.add_row(f"and {counted(more, 'rarer type')}, in the report", style="dim")
    return table


def _agreement_table(report: "ConversionReport") -> Table:
    """F1 between the annotators of the same documents."""
    names = ", ".join(f"{name} ({count:,})" for name, count in report.annotators.most_common())
    title = f"Agreement of annotators: {names}"
    table = Table(
        "type", "F1", "mentions of both", "of one", title=title, title_justify="left", box=None
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for label, one in report.agreement.items():
        table.add_row(label, f"{one.f1:.3f}", f"{one.same:,}", f"{one.different:,}")
    return table


def report_warnings(
    report: "ConversionReport", min_mentions: int, *, remedy: str = CONVERT_REMEDY
) -> Iterator[str]:
    """What a conversion lost that its user should know of.

    remedy (str): What the user can do about mentions that overlap.
    """
    read = report.types.items()
    too_rare = [f"{label} ({type_.too_rare})" for label, type_ in read if type_.too_rare]
    if too_rare:
        few = counted(min_mentions, "mention")
        yield f"Types dropped for having fewer than {few}: {listed(too_rare)}"
    losing = [
        f"{label or '(no type)'} {type_.lost / type_.read:.0%} of {type_.read:,}"
        for label, type_ in sorted(read, key=lambda item: -item[1].lost / max(item[1].read, 1))
        if type_.lost > MAX_LOSS * type_.read
    ]
    if losing:
        yield (
            f"Types that lose more than {MAX_LOSS:.0%} of their mentions, with one label per "
            f"token, as overlapping or invalid: {listed(losing)}. {remedy}"
        )
    if not report.total("read"):
        yield "No note has a mention: there is nothing to train on."
