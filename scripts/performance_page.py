"""Write docs/performance.md from what `make bench` measured: part of `make results`."""

from pathlib import Path
from typing import Any

import jinja2
import srsly

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "bench" / "results"
DEVICES = ("cpu", "cuda")


def measured() -> dict[str, Any]:
    """What there is, by device."""
    paths = {device: RESULTS / f"{device}.json" for device in DEVICES}
    return {device: srsly.read_json(path) for device, path in paths.items() if path.exists()}


def limit(row: dict[str, Any]) -> str:
    """What a ratio is to keep to."""
    if row["limit"] is None:
        return "reported"
    return f"{row['sign'].replace('<=', '≤').replace('>=', '≥')} {row['limit']:g}"


def number(value: float) -> str:
    """A ratio with as many digits as its limit needs."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def side(figures: dict[str, float]) -> str:
    """One side of a ratio in absolute terms."""
    names = {
        "ms": "{:,.0f} ms",
        "words_per_second": "{:,.0f} words/s",
        "peak_mib": "{:,.0f} MiB",
        "unbounded_peak_mib": "{:,.0f} MiB unbounded",
    }
    return ", ".join(names[key].format(value) for key, value in figures.items())


def page() -> str:
    """The page, as markdown."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "side": side, "limit": limit}
    template = environment.from_string((ROOT / "docs" / "performance.md.jinja").read_text("utf-8"))
    return template.render(results=measured())


if __name__ == "__main__":
    if "cpu" in measured():
        PAGE.write_text(page(), encoding="utf-8")
