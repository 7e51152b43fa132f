"""`report.html`: the scores of an evaluation as one page that opens anywhere.

The page loads nothing, runs no script, and holds no text of a note unless it is given some.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spacy_btl.about import __version__, how_to_install
from spacy_btl.colors import colors_of
from spacy_btl.errors import BtlError
from spacy_btl.files import write_file
from spacy_btl.marks import Mention, drawn
from spacy_btl.metrics.measures import MEASURES, Measure

SIGNIFICANT = 0.05
MAX_CONFUSIONS = 12  # rows of the table of confusions

Point = Mapping[str, Any]  # of the curve


def require_extra() -> None:
    """RAISES: BtlError, if the libraries of the `report` extra are not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise BtlError(
            f"Plots need {error.name}, which is not installed: get it {how_to_install('report')}."
        ) from error


def write_report(metrics: dict[str, Any], path: Path, errors: list | None = None) -> None:
    """Write the page, whole or not at all. The same scores give the same bytes.

    metrics (Dict[str, Any]): The content of `metrics.json`; shares from 0 to 1. A difference in
        `versus` is this model's score less the other's.
    path (Path): The file to write.
    errors (Optional[List[Dict[str, Any]]]): Errors to show with the text around them: the page
        then holds text of notes. None for a page without.
    RAISES: BtlError, if matplotlib is not installed, or the file cannot be written.
    """
    require_extra()
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from spacy_btl.evaluation.plots import MAX_CLASSES

    environment = Environment(
        loader=PackageLoader("spacy_btl.evaluation", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent="{:.1%}".format,
        decimal="{:.3f}".format,
        count="{:,}".format,
        upper_first=lambda title: title[:1].upper() + title[1:],
        difference=_difference,
        p=lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}",
    )
    labels = {ent["label"] for error in errors or () for ent in error["gold"] + error["predicted"]}
    colors = colors_of({*metrics["types"], *labels})
    page = environment.get_template("report.html.jinja").render(
        metrics=metrics,
        corpus=Path(metrics["corpus"]["file"]).stem,
        version=__version__,
        scores=_grouped(metrics["scores"]),
        versus=_compared(metrics["versus"]),
        notable=_notable(metrics),
        confusions=_confusions(**metrics["confusion"]) if metrics["confusion"] else [],
        plots=_plots(metrics),
        max_classes=MAX_CLASSES,
        errors=errors and [{**error, "rendered": _rendered(error, colors)} for error in errors],
    )
    write_file(path, page.encode("utf-8"))


def _difference(value: float, measure: Measure) -> str:
    """With its sign: in points for a share, else as it is."""
    text = f"{100 * value:+.1f}" if measure.percent else f"{value:+.3f}"
    return text.replace("-", "−")


def _grouped(scores: Mapping[str, Any]) -> dict[str, list[tuple[Measure, Mapping[str, Any]]]]:
    """The scores by group, each with its meaning."""
    groups: dict[str, list[tuple[Measure, Mapping[str, Any]]]] = {}
    for name, measure in MEASURES.items():
        if name in scores:
            groups.setdefault(measure.group, []).append((measure, scores[name]))
    return groups


def _compared(versus: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Each difference with its measure, its verdict, and its place on a common scale."""
    if versus is None:
        return []
    differences = {name: versus["scores"][name] for name in MEASURES if name in versus["scores"]}
    bounds = [abs(row[end]) for row in differences.values() for end in ("low", "high")]
    widest = max(bounds, default=0) or 1.0
    rows = []
    for name, row in differences.items():
        measure = MEASURES[name]
        verdict = "no clear difference"
        if row["p_holm"] < SIGNIFICANT:
            improved = (row["difference"] < 0) == measure.lower_is_better
            verdict = "better" if improved else "worse"
        # -widest..widest becomes 0..1
        place = {end: 0.5 + row[end] / widest / 2 for end in ("difference", "low", "high")}
        rows.append({**row, "measure": measure, "verdict": verdict, "place": place})
    return rows


def _notable(metrics: Mapping[str, Any]) -> list[Point]:
    """The most telling points of the curve, each with a note. A pipeline whose mentions can overlap
    is one of them."""
    points: Sequence[Point] = metrics["curve"] or []
    if not points:
        return []
    notable: list[Point] = [
        {**min(points, key=lambda point: abs(point["tau"])), "note": "no shift"},
        {**max(points, key=lambda point: point["tag_macro_f"]), "note": "highest token F1 here"},
        {**max(points, key=lambda point: point["tag_uar"]), "note": "highest UAR here"},
    ]
    tau = metrics["pipeline"]["settings"]["tau"] if metrics["overlapping"] else {}
    if not isinstance(tau, dict):  # one for all types
        scores = {name: metrics["scores"][name]["value"] for name in points[0] if name != "tau"}
        notable.append({"tau": tau, **scores, "note": "this pipeline"})
    return notable


def _confusions(classes: Sequence[str], cells: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The most frequent confusions of tokens, each with its share of the gold class."""
    totals: Counter[int] = Counter()
    for gold, _, n in cells:
        totals[gold] += n
    confusions: list[dict[str, Any]] = [
        {
            "gold": classes[gold],
            "predicted": classes[predicted],
            "tokens": n,
            "share": n / totals[gold],
        }
        for gold, predicted, n in cells
        if gold != predicted
    ]
    return sorted(confusions, key=lambda row: -row["tokens"])[:MAX_CONFUSIONS]


def _plots(metrics: Mapping[str, Any]) -> Mapping[str, str]:
    """SVG by name, for the data that is there."""
    from spacy_btl.evaluation.plots import confusion_plot, curve_plot, reliability_plot

    plots = {}
    if metrics["confusion"]:
        plots["confusion"] = confusion_plot(**metrics["confusion"])
    if metrics["curve"]:
        now = {name: metrics["scores"][name]["value"] for name in ("tag_uar", "tag_macro_f")}
        plots["curve"] = curve_plot(metrics["curve"], **now)
    for things, bins in metrics["calibration"].items():
        if bins is not None:
            plots[things] = reliability_plot(bins, things=things)
    return plots


def _rendered(error: Mapping[str, Any], colors: Mapping[str, str]) -> dict[str, str]:
    """The text around an error with its mentions drawn, as annotated and as predicted."""
    from markupsafe import Markup

    def mark(ents: Sequence[Mapping[str, Any]]) -> str:
        mentions = [Mention(ent["start"], ent["end"], ent["label"]) for ent in ents]
        return drawn(error["text"], mentions, colors)

    return {name: Markup(mark(error[name])) for name in ("gold", "predicted")}
