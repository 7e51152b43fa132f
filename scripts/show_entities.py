r"""Load an installed pipeline by its name and show what it finds in notes.

The picture in the README is a page that --html writes:

python scripts/show_entities.py en_btl_clinical assets/samples/breathlessness.txt \
    --html entities.html
chromium --headless --hide-scrollbars --force-device-scale-factor=1.5 --window-size=1180,490 \
    --screenshot=entities.png entities.html
python -c "from PIL import Image; image = Image.open('entities.png').convert('RGB'); \
    image.quantize(256, dither=0).save('docs/images/entities.png', optimize=True)"
"""

from pathlib import Path

import spacy
import typer
from rich.console import Console
from rich.table import Table

PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<body style="font: 16px/1.95 sans-serif; margin: 12px 20px; background: white">{marked}</body>
"""


def main(package: str, notes: list[Path], html: Path | None = None) -> None:
    """Print the entities of NOTES, with their confidence, as PACKAGE finds them, and write the
    marked notes to HTML."""
    nlp = spacy.load(package)
    docs = list(nlp.pipe(note.read_text("utf-8") for note in notes))
    console = Console(markup=False)
    for path, doc in zip(notes, docs, strict=True):
        table = Table("text", "label", "confidence", title=path.stem, title_justify="left")
        table.columns[2].justify = "right"
        for ent in doc.ents:
            sure = ent._.confidence
            table.add_row(ent.text, ent.label_, "-" if sure is None else f"{sure:.2f}")
        console.print(table)
    console.print(f"{package} {nlp.meta['version']}: {' > '.join(nlp.pipe_names)}")
    if html is not None:
        from spacy_btl.web.content import marked

        content = "".join(marked(doc.text, doc.ents) for doc in docs)
        html.write_text(PAGE.format(marked=content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
