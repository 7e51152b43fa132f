"""The plots of the report, as SVG with the colours and the font of the page around it.

Needs the `report` extra. The same data gives the same bytes.
"""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# Stand-ins that matplotlib can draw with, and the variables of the page's style sheet that take
# their place: a light and a dark page then share one plot.
INK, MUTED, RULE, ACCENT, SECOND, HEAT = (f"#00000{digit}" for digit in range(1, 7))
PAGE_COLORS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    HEAT: "var(--heat)",
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "spacy-btl",
    "text.parse_math": False,  # a type's name may hold dollar signs
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "figure.dpi": 72,  # one point is one pixel
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
}
WIDTH = 400  # pixels: small enough to be legible when shrunk to a phone
LABEL_GAP = 26  # pixels between the labelled points of the curve
MAX_CLASSES = 60  # of the heat map: more cannot be read
CORNER = 90  # pixels: room for the names of its axes
LETTER = 7  # pixels: about the width of one
MAX_NAME = 26  # characters of a class's name in the heat map
MIN_SHARE = 0.01  # of a row: smaller cells are coloured but carry no number

Bin = Mapping[str, Any]
PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.4g}%")


def curve_plot(
    curve: Sequence[Mapping[str, float]], *, tag_uar: float, tag_macro_f: float
) -> Markup:
    """Plot UAR against token macro F1 over `tau`.

    curve (Sequence[Mapping[str, float]]): `tau`, `tag_uar` and `tag_macro_f` of each point.
    tag_uar, tag_macro_f (float): Those of the pipeline with its settings.
    """
    points = sorted(curve, key=lambda point: point["tau"])
    f = np.array([point["tag_macro_f"] for point in points])
    recall = np.array([point["tag_uar"] for point in points])
    taus = [point["tau"] for point in points]
    with style.context(["default", STYLE]):
        figure = _figure(WIDTH, 340)
        ax = figure.subplots()
        ax.plot(f, recall, color=ACCENT, marker="o", markersize=4, linewidth=1.5)
        ax.plot(
            tag_macro_f, tag_uar, "D", color=SECOND, markerfacecolor="none", markersize=11,
            markeredgewidth=2, label="this pipeline",
        )  # fmt: skip
        ax.legend(loc="best", frameon=False)
        ax.margins(0.14)
        ax.set(xlabel="token macro F1", ylabel="UAR")
        ax.xaxis.set_major_formatter(PERCENT)
        ax.yaxis.set_major_formatter(PERCENT)
        figure.draw_without_rendering()  # settles the layout, and with it the pixels
        pixels = ax.transData.transform(np.column_stack([f, recall]))
        outwards = _right_of(pixels) * (17, 10)
        for i in _spread(pixels, taus):
            ax.annotate(
                f"{taus[i]:g}".replace("-", "−"), (f[i], recall[i]), outwards[i],
                textcoords="offset points", ha="center", va="center", fontsize=10,
            )  # fmt: skip
        return _svg(
            figure,
            "curve",
            "Line: unweighted average recall of the tokens against their macro F1, one point for "
            f"each tau from {taus[0]:g} to {taus[-1]:g}. The table beside it has the numbers.",
        )


def _right_of(path: np.ndarray) -> np.ndarray:
    """Unit vectors [P, 2] to the right of a path of P points, in its direction."""
    if len(path) == 1:
        return np.array([[1.0, 0.0]])
    ahead = np.gradient(path, axis=0)
    right = np.column_stack([ahead[:, 1], -ahead[:, 0]])
    return right / np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-9)


def _spread(pixels: np.ndarray, taus: Sequence[float]) -> list[int]:
    """Choose points to label: those of the roundest tau first, none too near to another."""
    chosen: list[int] = []
    order = sorted(range(len(taus)), key=lambda i: (len(f"{abs(taus[i]):g}"), abs(taus[i])))
    for i in order:
        gaps = np.abs(pixels[chosen] - pixels[i]).max(axis=1) if chosen else np.array([np.inf])
        if gaps.min() >= LABEL_GAP:
            chosen.append(i)
    return chosen


def reliability_plot(bins: Sequence[Bin], *, things: str) -> Markup:
    """Plot accuracy against confidence, and the number of items per bin.

    bins (Sequence[Bin]): Equal parts of the confidences from 0 to 1, with `n`, `confidence` and
        `accuracy` of each; empty ones are left out.
    things (str): What is counted: "tokens" or "entities".
    """
    filled = [bin_ for bin_ in bins if bin_["n"]]
    centres = [(i + 0.5) / len(bins) for i, bin_ in enumerate(bins) if bin_["n"]]
    confidence = np.array([bin_["confidence"] for bin_ in filled])
    accuracy = np.array([bin_["accuracy"] for bin_ in filled])
    counts = np.array([bin_["n"] for bin_ in filled])
    with style.context(["default", STYLE]):
        figure = _figure(WIDTH, 480)
        upper, lower = figure.subplots(2, sharex=True, height_ratios=[3, 1.4])
        upper.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
        upper.vlines(confidence, accuracy, confidence, color=SECOND, linewidth=2)
        upper.plot(confidence, accuracy, "o-", color=ACCENT, markersize=5, clip_on=False)
        upper.text(0.03, 0.95, "underconfident", va="top", color=MUTED)
        upper.text(0.98, 0.05, "overconfident", ha="right", color=MUTED)
        upper.set(ylim=(0, 1), ylabel=f"correct {things}")
        upper.yaxis.set_major_formatter(PERCENT)
        lower.bar(centres, counts, width=0.75 / len(bins), color=ACCENT)
        for x, count in zip(centres, counts, strict=True):
            lower.annotate(
                f"{count:,}", (x, count), (0, 3), textcoords="offset points", ha="left",
                va="center", rotation=90, rotation_mode="anchor", fontsize=9,
            )  # fmt: skip
        lower.set(
            xlim=(0, 1.02), ylim=(0, 1.6 * max(counts, default=1)), xlabel="confidence", yticks=[],
            ylabel=f"{things} per bin",
        )  # fmt: skip
        lower.xaxis.set_major_formatter(PERCENT)
        return _svg(
            figure,
            f"reliability-{things}",
            f"Reliability diagram: for {len(filled)} bins of confidence, the share of {things} "
            f"that is correct, and the number of {things}. The table below has the numbers.",
        )


def confusion_plot(classes: Sequence[str], cells: Sequence[Sequence[int]]) -> Markup:
    """Plot token confusions as a heat map, a row for each gold class, as shares of the row.

    classes (Sequence[str]): The names of C classes. Of more than `MAX_CLASSES` the most
        frequent are shown.
    cells (Sequence[Sequence[int]]): Gold class, predicted class, tokens; each pair once at most.
    """
    gold, predicted, tokens = np.array(cells).reshape(-1, 3).T
    totals = np.bincount(gold, tokens, minlength=len(classes)).astype("int64")
    shown = np.sort(np.argsort(-totals, kind="stable")[:MAX_CLASSES])
    place = np.full(len(classes), -1)
    place[shown] = np.arange(len(shown))
    kept = (place[gold] >= 0) & (place[predicted] >= 0)
    shares = np.zeros((len(shown), len(shown)))
    shares[place[gold[kept]], place[predicted[kept]]] = tokens[kept] / totals[gold[kept]]
    names = [_short(classes[i]) for i in shown]
    n = len(shown)
    labels = [f"{name} ({totals[i]:,})" for name, i in zip(names, shown, strict=True)]
    size = n * (23 if n > 12 else 40)
    left = max(CORNER, LETTER * max(map(len, labels)))
    longest = LETTER * max(map(len, names))
    top, right = max(CORNER / 2, 0.9 * longest), longest / 2
    width, height = left + size + right, top + size + 2
    with style.context(["default", STYLE, {"axes.grid": False}]):
        figure = Figure((width / 72, height / 72))
        ax = figure.add_axes((left / width, 2 / height, size / width, size / height))
        rows, columns = np.nonzero(shares)
        corners = np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) - 0.5
        colors = [f"{HEAT}{round(255 * np.sqrt(share)):02x}" for share in shares[rows, columns]]
        squares = np.column_stack([columns, rows])[:, None] + corners
        ax.add_collection(PolyCollection(list(squares), facecolors=colors, edgecolors="none"))
        lines = np.arange(n + 1) - 0.5
        ax.hlines(lines, -0.5, n - 0.5, color=RULE, linewidth=0.5)
        ax.vlines(lines, -0.5, n - 0.5, color=RULE, linewidth=0.5)
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if (share := shares[row, column]) >= MIN_SHARE:
                ax.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9)
        ax.set(xlim=(-0.5, n - 0.5), ylim=(n - 0.5, -0.5))
        ax.annotate(
            "predicted →\nannotated ↓", (-0.5, -0.5), (-8, 8), textcoords="offset points",
            ha="right", color=MUTED,
        )  # fmt: skip
        ax.tick_params(length=0, top=True, labeltop=True, labelbottom=False)
        ax.set_xticks(range(n), names, rotation=60, ha="left", rotation_mode="anchor")
        ax.set_yticks(range(n), labels)
        ax.spines[:].set_visible(False)
        return _svg(
            figure,
            "confusion",
            f"Heat map of {n} token classes: annotated class by row, predicted class by column, "
            "in percent of the row. The table below has the most frequent confusions.",
        )


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _figure(width: float, height: float) -> Figure:
    """A figure of a size in pixels."""
    return Figure((width / 72, height / 72), layout="constrained")


def _svg(figure: Figure, name: str, description: str) -> Markup:
    """The SVG element of a figure, for a page with several of them.

    name (str): Goes before every id.
    description (str): The text for screen readers.
    """
    file = io.StringIO()
    with warnings.catch_warnings():
        # The reader's browser has fonts of its own for letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        no_metadata = dict.fromkeys(["Date", "Creator", "Format", "Type"])
        figure.savefig(file, format="svg", metadata=no_metadata)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"<[^>]+>", lambda tag: _fit_in_page(tag[0], name), svg)
    return Markup(svg.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1))


def _fit_in_page(tag: str, name: str) -> str:
    """Give a tag the page's colours, font and pixels, and ids of its own figure."""
    tag = re.sub("|".join(PAGE_COLORS), lambda match: PAGE_COLORS[match[0]], tag)
    tag = re.sub('font-family: [^;"]+;? ?', "", tag)
    tag = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    return re.sub(r'(width|height)="([\d.]+)pt"', r'\1="\2"', tag)
