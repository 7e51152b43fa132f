"""`python -m spacy btl add-context` and `add-sections`: what stands around entities."""

from pathlib import Path

import typer
from wasabi import msg

from spacy_btl.cli._run import FORCE, btl, exits_on_error, refuse_to_replace
from spacy_btl.cli.convert import names_in


@btl.command("add-context")
@exits_on_error
def add_context_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    output: Path = typer.Argument(..., help="The folder to save the pipeline in"),
    types: str | None = typer.Option(
        None, help="Only for these types, with commas between: Sign_symptom,Medication"
    ),
    force: bool = FORCE,
) -> None:
    """Mark negated, uncertain and past entities.

    It adds the pipe btl_context, which finds by English trigger terms what the note says of each
    entity: ent._.negated, .uncertain, .historical, .hypothetical, and .experiencer ("patient" or
    "other"). `btl annotate` writes them. It needs the extra `context`.
    """
    from spacy_btl.training.add_context import add_context

    refuse_to_replace(output, force=force)
    add_context(model, output, types=None if types is None else names_in(types))
    msg.good(f"Saved to {output}")


@btl.command("add-sections")
@exits_on_error
def add_sections_cli(
    model: str = typer.Argument(..., help="A pipeline: a package name or a folder"),
    output: Path = typer.Argument(..., help="The folder to save the pipeline in"),
    force: bool = FORCE,
) -> None:
    """Mark headings, and the section of each entity.

    It adds the pipe btl_sections, which tells headings by their form, takes entities out of them,
    and gives each entity the heading above it: ent._.section. `btl annotate` writes it.
    """
    from spacy_btl.training.add_sections import add_sections

    refuse_to_replace(output, force=force)
    add_sections(model, output)
    msg.good(f"Saved to {output}")
