r"""Load an installed pipeline by its name and show what it finds in notes.

The picture of overlapping mentions is a page that --html writes, of the first document of the
.spacy file that docs/overlapping.md makes. Negated mentions are struck through, by negspacy:

python scripts/show_entities.py corpus/nested.spacy --html overlapping.html
chromium --headless --hide-scrollbars --force-device-scale-factor=1.5 --window-size=1000,120 \
    --screenshot=overlapping.png overlapping.html
python -c "from PIL import Image; image = Image.open('overlapping.png').convert('RGB'); \
    image.quantize(256, dither=0).save('docs/images/overlapping.png', optimize=True)"
"""

from importlib.util import find_spec
from pathlib import Path

import spacy
import typer
from rich.console import Console
from rich.table import Table

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.mentions import MENTIONS
from spacy_btl.notes.entities import entities_of, mentions_of, spans_keys
from spacy_btl.pipeline.annotations import confidence
from spacy_btl.web.content import marked

PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<body style="font: 16px/1.95 sans-serif; margin: 12px 20px; background: white">{marked}</body>
"""


def main(
    package: str, notes: list[Path] | None = typer.Argument(None), html: Path | None = None
) -> None:
    """Print the mentions of NOTES, with their confidence, as PACKAGE finds them, and write the
    marked notes to HTML. If PACKAGE is a .spacy file, its annotation is shown, and what
    `btl_context` says of it where negspacy is installed."""
    console = Console(markup=False)
    if package.endswith(".spacy"):
        nlp = spacy.blank("en")
        if find_spec("negspacy") is not None:
            nlp.add_pipe("btl_context", config={"spans_keys": [MENTIONS]})
        docs = list(nlp.pipe(read_docs(Path(package), nlp.vocab)[:1]))
        found = [(doc.user_data["note_id"], list(doc.spans[MENTIONS])) for doc in docs]
    else:
        nlp = spacy.load(package)
        docs = list(nlp.pipe(note.read_text("utf-8") for note in notes or ()))
        console.print(f"{package} {nlp.meta['version']}: {' > '.join(nlp.pipe_names)}")
        keys = spans_keys(nlp)
        found = [
            (note.stem, mentions_of(doc, keys)) for note, doc in zip(notes or (), docs, strict=True)
        ]
    for title, mentions in found:
        table = Table("text", "label", "confidence", title=title, title_justify="left")
        table.columns[2].justify = "right"
        for span in mentions:
            sure = confidence(span)
            table.add_row(span.text, span.label_, "-" if sure is None else f"{sure:.2f}")
        console.print(table)
    if html is not None:
        content = "".join(
            marked(doc.text, list(entities_of(title, mentions)))
            for doc, (title, mentions) in zip(docs, found, strict=True)
        )
        html.write_text(PAGE.format(marked=content), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
