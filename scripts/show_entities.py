"""Load an installed pipeline by its name and show what it finds in notes."""

from pathlib import Path

import spacy
import typer
from rich.console import Console
from rich.table import Table


def main(package: str, notes: list[Path]) -> None:
    """Print the entities of NOTES, with their confidence, as PACKAGE finds them."""
    nlp = spacy.load(package)
    console = Console(markup=False)
    for path, doc in zip(notes, nlp.pipe(note.read_text("utf-8") for note in notes), strict=True):
        table = Table("text", "label", "confidence", title=path.stem, title_justify="left")
        table.columns[2].justify = "right"
        for ent in doc.ents:
            sure = ent._.confidence
            table.add_row(ent.text, ent.label_, "-" if sure is None else f"{sure:.2f}")
        console.print(table)
    console.print(f"{package} {nlp.meta['version']}: {' > '.join(nlp.pipe_names)}")


if __name__ == "__main__":
    typer.run(main)
