"""Ratios of two sides that are measured in turn, and the file that keeps them.

What one machine does in one minute says little about another machine or the next minute. So both
sides of a ratio run in turn in one process (A B A B ...), after a run of each that does not count,
and each pair gives one ratio: the value is their median, `low` and `high` are their quartiles.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from spacy_btl.files import write_file

Case = Callable[[], object]

SPREAD = "quartiles of the pairs"

# name: (is the value to be at most or at least, this). None: it is reported only.
LIMITS: dict[str, tuple[str, float] | None] = {
    "train_fused_over_atl": ("<=", 1.03),
    "train_overlapping_over_flat": ("<=", 1.05),
    "train_sequential_over_fused": None,
    "train_ours_over_torch": ("<=", 1.05),
    "train_ours_over_torch_base": ("<=", 1.05),
    "train_fp32_over_fast": (">=", 1.7),
    "train_fp32_over_fast_base": (">=", 1.7),
    "pipe_over_encoder": ("<=", 1.15),
    "pipe_over_encoder_no_overlap": ("<=", 1.15),
    "pipe_over_encoder_base": ("<=", 1.15),
    "pipe_overlapping_over_flat": ("<=", 1.10),
    "pipe_fp32_over_bfloat16": None,
    "pipe_two_processes": None,
    "pipe_vs_hf": (">=", 2.0),
    "pipe_vs_hf_mixed": (">=", 2.0),
    "pipe_vs_edsnlp": (">=", 1.2),
    "pipe_vs_spancat": (">=", 3.0),
    "around_encoder": (">=", 2.5),
    "knn_share": ("<=", 0.05),
    "knn_share_base": ("<=", 0.05),
    "memory_growth": ("<=", 1.05),
    "load_over_imports": ("<=", 1.3),
    "long_note": ("<=", 1.1),
}


class UnavailableError(Exception):
    """What a ratio needs is not there; the message says what."""


@dataclass(frozen=True)
class Ratio:
    """What was measured of a ratio.

    values (Sequence[float]): One ratio for each pair of measurements.
    about (str): What was measured: encoder, batch, precision.
    sides (Mapping[str, Mapping[str, float]]): The same in absolute terms, side by side.
    """

    values: Sequence[float]
    about: str
    sides: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def in_turn(sides: Mapping[str, Case], repeats: int, warm_up: int = 1) -> dict[str, list[float]]:
    """The seconds of each side, each time it ran. The sides run one after the other, in turn."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(warm_up + repeats):
        for name, case in sides.items():
            seconds = _seconds(case)
            if turn >= warm_up:
                taken[name].append(seconds)
    return taken


def _seconds(case: Case) -> float:
    begin = time.perf_counter()
    case()
    finish_cuda()
    return time.perf_counter() - begin


def finish_cuda() -> None:
    """Wait for what a GPU has been given."""
    import torch  # not at import: the number of threads is set before it

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def pairwise(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """The ratio of each pair."""
    return [a / b for a, b in zip(first, second, strict=True)]


def figures(seconds: Sequence[float], words: int | None = None) -> dict[str, float]:
    """One side in absolute terms: milliseconds, and words a second where it reads words."""
    middle = statistics.median(seconds)
    speed = {} if words is None else {"words_per_second": _rounded(words / middle)}
    return {"ms": _rounded(1000 * middle), **speed}


def row(name: str, ratio: Ratio) -> dict[str, Any]:
    """A ratio as the result file has it."""
    values = list(ratio.values)
    value = statistics.median(values)
    limit = LIMITS[name]
    return {
        "name": name,
        **quartiles(values),
        "sign": limit and limit[0],
        "limit": limit and limit[1],
        "met": limit and (value <= limit[1] if limit[0] == "<=" else value >= limit[1]),
        "pairs": len(values),
        "date": datetime.now(UTC).date().isoformat(),
        "about": ratio.about,
        "sides": {side: dict(numbers) for side, numbers in ratio.sides.items()},
    }


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """The median of ratios as `value`, and their quartiles as `low` and `high`."""
    ends = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values
    found = {"value": statistics.median(values), "low": ends[0], "high": ends[-1]}
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def save_row(path: Path, setting: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Put a row in the place of the one of its name, and leave the others as they are.

    setting (Mapping): Machine, versions and threads.
    RAISES: ValueError, if the file was measured in another setting: its rows and the new one
        cannot stand in one table.
    """
    kept = [other for other in read_rows(path, setting) if other["name"] != new["name"]]
    order = list(LIMITS)
    rows = sorted([*kept, dict(new)], key=lambda row: order.index(row["name"]))
    _write(path, setting, {"ratios": rows})


def save_table(
    path: Path, setting: Mapping[str, Any], name: str, points: list[dict[str, Any]]
) -> None:
    """Put another table beside the ratios. RAISES: As `save_row`."""
    _write(path, setting, {"ratios": read_rows(path, setting), name: points})


def read_rows(path: Path, setting: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a file, none if there is no file. RAISES: As `save_row`."""
    content = _content(path)
    other = [key for key in setting if differs(content.get(key, setting[key]), setting[key])]
    if other:
        raise ValueError(
            f"{path} was measured with another {' and another '.join(other)}. "
            "Remove it, or give another --output."
        )
    return content.get("ratios", [])


def _content(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def differs(old: Any, new: Any) -> bool:
    """Whether two settings cannot stand in one table; what only one of them has does no harm."""
    if isinstance(old, dict):
        return any(old[key] != new[key] for key in old.keys() & new.keys())
    return old != new


def _write(path: Path, setting: Mapping[str, Any], content: Mapping[str, Any]) -> None:
    old = _content(path)
    merged = {
        key: {**old.get(key, {}), **value} if isinstance(value, dict) else value
        for key, value in setting.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**old, **merged, "spread": SPREAD, **content}, indent=2)
    write_file(path, (text + "\n").encode())
