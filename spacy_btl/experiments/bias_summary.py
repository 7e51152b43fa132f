"""The results of a bias test: figures over the seeds, and a plot."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np

MARKERS = ("x", "o", "+", "s")
COLORS = ("#b5442e", "#b5442e", "#2f6690", "#2f6690")
PANEL = (250, 300)  # pixels
STYLE = {"svg.fonttype": "none", "svg.hashsalt": "spacy-btl", "font.size": 9}


def summarize(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Summarize the runs over the seeds, by shares, loss and reading.

    runs (Iterable[Mapping[str, Any]]): From `run_bias_test`.
    RETURNS (List[Dict[str, Any]]): `drawn`, `loss`, `reading` and `majority`; `empirical`, the
        majority's share in training; `chance`, the total variation distance of the held-out
        tokens' labels; and `{"mean", "low", "high"}` over the seeds of `share` (what the reading
        gives the majority), `tv` and `kl`.
    """
    groups: defaultdict[tuple[str, str, str, str], list[dict[str, float]]] = defaultdict(list)
    for run in runs:
        majority = run["majority"]
        for reading, found in run["readings"].items():
            groups[run["drawn"], run["loss"], reading, majority].append(
                {
                    "empirical": run["empirical"][majority],
                    "chance": run["chance"]["tv"],
                    "share": found["shares"][majority],
                    "tv": found["tv"],
                    "kl": found["kl"],
                }
            )
    return [
        {
            "drawn": drawn,
            "loss": loss,
            "reading": reading,
            "majority": majority,
            **{key: float(np.mean([row[key] for row in rows])) for key in ("empirical", "chance")},
            **{key: _spread([row[key] for row in rows]) for key in ("share", "tv", "kl")},
        }
        for (drawn, loss, reading, majority), rows in groups.items()
    ]


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}


def plot_bias(summary: Sequence[Mapping[str, Any]]) -> bytes:
    """Plot the share that each reading gives the majority class, and its share in training.

    There is a panel for each distribution of labels and a row for each loss. The output is
    deterministic.

    RETURNS (bytes): An SVG file.
    """
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    panels, losses, readings = (
        list(dict.fromkeys(row[key] for row in summary)) for key in ("drawn", "loss", "reading")
    )
    with style.context(["default", STYLE]):
        size = (140 + PANEL[0] * len(panels)) / 72, PANEL[1] / 72
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, drawn in zip(axes, panels, strict=True):
            rows = [row for row in summary if row["drawn"] == drawn]
            empirical = rows[0]["empirical"]
            ax.axvline(empirical, color="#888888", linestyle="--", zorder=0, label="in training")
            for reading, marker, color in zip(readings, MARKERS, COLORS, strict=False):
                points = [row for row in rows if row["reading"] == reading]
                ax.plot(
                    [row["share"]["mean"] for row in points],
                    [losses.index(row["loss"]) for row in points],
                    marker, color=color, markerfacecolor="none", label=reading,
                )  # fmt: skip
            ax.set(title=drawn, xlim=(-0.04, 1.04), xlabel=f"share of {rows[0]['majority']}")
            ax.set_yticks(range(len(losses)), losses)
            ax.xaxis.set_major_formatter(PercentFormatter(1))
            ax.grid(axis="y", color="#dddddd")
            ax.spines[["top", "right"]].set_visible(False)
        axes[0].invert_yaxis()
        figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=len(readings) + 1,
        )
        file = BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()
