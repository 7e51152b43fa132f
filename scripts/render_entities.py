r"""Draw the entities of a note with their confidence: the picture in the README.

python scripts/render_entities.py en_btl_clinical assets/samples/breathlessness.txt entities.html
chromium --headless --hide-scrollbars --force-device-scale-factor=1.5 --window-size=1180,490 \
    --screenshot=entities.png entities.html
python -c "from PIL import Image; image = Image.open('entities.png').convert('RGB'); \
    image.quantize(256, dither=0).save('docs/images/entities.png', optimize=True)"
"""

from pathlib import Path

import spacy
import typer

from spacy_btl.web.content import marked

PAGE = """<!DOCTYPE html>
<meta charset="utf-8">
<body style="font: 16px/1.95 sans-serif; margin: 12px 20px; background: white">{marked}</body>
"""


def main(package: str, note: Path, html: Path) -> None:
    """Write the entities that PACKAGE finds in NOTE to HTML, a page of its own."""
    doc = spacy.load(package)(note.read_text("utf-8"))
    html.write_text(PAGE.format(marked=marked(doc.text, doc.ents)), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
