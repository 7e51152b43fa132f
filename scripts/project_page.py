"""Write docs/project.md, the commands and workflows of project.yml: part of `make results`."""

import shutil
import tempfile
from pathlib import Path

from weasel.cli.document import project_document

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "project.md"
NAME = "project.yml"


def page() -> str:
    """The page that `spacy project document` makes, with links as from docs/."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / NAME, folder)
        output = Path(folder) / "project.md"
        project_document(Path(folder), output, no_emoji=True)
        return output.read_text("utf-8").replace(f"]({NAME})", f"](../{NAME})")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
