"""Write docs/scale.md from what bench/spark_scaling.py measured: part of `make results`."""

from pathlib import Path
from typing import Any

import jinja2
import srsly

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "scale.md"


def page() -> str:
    """The page, as markdown."""
    measured = srsly.read_json(ROOT / "bench" / "results" / "spark_scaling.json")
    rows: dict[str, Any] = {row["name"]: row for row in measured["results"]}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    template = environment.from_string((ROOT / "docs" / "scale.md.jinja").read_text("utf-8"))
    return template.render(
        find=rows.__getitem__, machine=measured["machine"], words=measured["words"]
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
