"""Write the pages that are made of one result file each, and project.md: part of `make results`."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import jinja2
import srsly
from scipy.stats import spearmanr
from weasel.cli.document import project_document

from spacy_btl.context.assertions import KINDS, OTHER

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
MEASURED = ROOT / "bench" / "results"
RESULTS = ROOT / "experiments" / "results"
DEVICES = ("cpu", "cuda")
MEASURED_APART = ("overlapping", "compiled")
PROJECT = "project.yml"
# Those of the page of assertions, as its table names them.
LIBRARIES = {
    "btl_context": "btl_context",
    "negspacy": "negspacy, en_clinical",
    "negspacy_sensitive": "negspacy, en_clinical_sensitive",
    "medspacy": "medspaCy's ConText",
    "edsnlp": "EDS-NLP, French terms",
    "learned": "a learned head",
}


def template(name: str, **filters: Any) -> jinja2.Template:
    """The template of a page."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.from_string((DOCS / f"{name}.md.jinja").read_text("utf-8"))


def scale() -> str:
    """The page of what bench/spark_scaling.py measured."""
    return template("scale").render(measured=srsly.read_json(MEASURED / "spark_scaling.json"))


def performance() -> str:
    """The page of what `make bench` measured, on each device that it was run on."""
    paths = {device: MEASURED / f"{device}.json" for device in DEVICES}
    results = {device: srsly.read_json(path) for device, path in paths.items() if path.exists()}
    page = template("performance", number=number, side=side, limit=limit)
    measured = {name: srsly.read_json(MEASURED / f"{name}.json") for name in MEASURED_APART}
    return page.render(results=results, **measured)


def compile_page() -> str:
    """The page of `btl compile`, with what bench/compiled.py measured."""
    return template("compile").render(results=srsly.read_json(MEASURED / "compiled.json"))


def assertions() -> str:
    """The page of assertions, with what experiments/assertions.py measured."""
    measured = srsly.read_json(ROOT / "experiments" / "results" / "assertions.json")

    def counts(library: str, half: str, kind: str) -> list[int]:
        return measured["libraries"][library]["counts"][half][kind]

    def figures(library: str, half: str, kind: str) -> str:
        tp, fp, fn = counts(library, half, kind)
        return f"{tp / (tp + fp):.2f} / {tp / (tp + fn):.2f}" if tp + fp else "–"

    def gold(half: str, kind: str) -> int:
        tp, _, fn = counts("btl_context", half, kind)
        return tp + fn

    return template("assertions").render(
        measured=measured,
        figures=figures,
        gold=gold,
        halves=("first", "second"),
        kinds={**KINDS, OTHER: "Another person's"},
        shown=list(LIBRARIES),
        names=LIBRARIES,
        versions=", ".join(
            sorted({f"{one['package']} {one['version']}" for one in measured["libraries"].values()})
        ),
        sections=srsly.read_json(ROOT / "experiments" / "results" / "sections.json"),
        types="Sign_symptom, Disease_disorder, Medication, Diagnostic_procedure, "
        "Therapeutic_procedure and Clinical_event",
    )


def shift_page() -> str:
    """The page of `btl check` and `calibrate --maps-only`, by experiments/shift.py."""
    measured = srsly.read_json(RESULTS / "shift.json")
    losses = []
    for found in measured["sources"].values():
        for row in found["targets"].values():
            before = row["held_out"]
            expected = before["confidence"] - row["estimates"]["corrected"]
            losses.append([before["accuracy"] - row["accuracy"], expected])
    correlation = float(spearmanr(losses)[0])
    return template("shift").render(measured=measured, kinds=len(losses), correlation=correlation)


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


def project() -> str:
    """The commands and workflows, as `spacy project document` lists them, with links as from
    docs/."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(ROOT / PROJECT, folder)
        output = Path(folder) / "project.md"
        project_document(Path(folder), output, no_emoji=True)
        return output.read_text("utf-8").replace(f"]({PROJECT})", f"](../{PROJECT})")


PAGES = {
    "scale": scale,
    "performance": performance,
    "compile": compile_page,
    "assertions": assertions,
    "shift": shift_page,
    "project": project,
}


if __name__ == "__main__":
    for name, page in PAGES.items():
        (DOCS / f"{name}.md").write_text(page(), encoding="utf-8")
