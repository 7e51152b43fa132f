"""Draw the entities of a note with displaCy: the picture in the README.

python scripts/render_entities.py en_btl_clinical assets/samples/breathlessness.txt entities.html
chromium --headless --hide-scrollbars --window-size=1180,905 --screenshot=docs/images/entities.png \
    entities.html
"""

from pathlib import Path

import spacy
import typer
from spacy import displacy


def main(package: str, note: Path, html: Path) -> None:
    """Write the entities that PACKAGE finds in NOTE to HTML, a page of its own."""
    doc = spacy.load(package)(note.read_text("utf-8"))
    html.write_text(displacy.render(doc, style="ent", page=True, jupyter=False), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
