"""What a run found, in ten lines that a reader can act on."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from spacy_btl.corpora.parts import PARTS
from spacy_btl.errors import counted, listed
from spacy_btl.fit.choices import Effort
from spacy_btl.fit.corpus import Part

# A type can be relied on if its F1 is surely as high, by its 95% interval.
RELIABLE = 0.5
# Below, a type is rather unmeasured than bad.
FEW_MENTIONS = 10
LONGER: Mapping[Effort, str] = {"small": "standard", "standard": "large"}
ENOUGH = 30  # mentions of a type to aim for, in all documents

Metrics = Mapping[str, Any]


class Trust(NamedTuple):
    """The types by what the evaluation says of them, each group the rarest first.

    reliable: Their F1 is at least `RELIABLE`, by the low end of its interval.
    poor: Measured on enough mentions, and not surely as good.
    unmeasured: With fewer than `FEW_MENTIONS` test mentions, and not surely as good.
    """

    reliable: list[str]
    poor: list[str]
    unmeasured: list[str]


def trust(metrics: Metrics, types: list[str]) -> Trust:
    """Which types can be relied on.

    metrics (Mapping[str, Any]): What `evaluate` returns.
    types (List[str]): The types that were learned.
    """
    found = Trust([], [], [])
    rows = metrics["types"]
    found.unmeasured.extend(sorted(label for label in types if label not in rows))
    for label, row in rows.items():
        if label not in types:
            continue
        support = row["support"]
        low = row[f"{_kind(metrics)}_f"]["low"] or 0.0
        if low >= RELIABLE and support:
            found.reliable.append(label)
        elif support < FEW_MENTIONS:
            found.unmeasured.append(label)
        else:
            found.poor.append(label)
    return found


def _kind(metrics: Metrics) -> str:
    """What the pipeline finds, as the keys of scores begin: entities, or mentions that overlap."""
    return "spans_btl" if metrics["overlapping"] else "ents"


def conclusions(
    metrics: Metrics,
    parts: Mapping[str, Part],
    *,
    dropped: Mapping[str, int],
    effort: Effort,
    files: Mapping[str, str],
) -> list[str]:
    """The lines.

    parts (Mapping[str, Part]): The counts of the documents.
    dropped (Mapping[str, int]): The types that are left out for their few mentions.
    files (Mapping[str, str]): Where the `report`, the `card` and the `pipeline` are; the command to
        `install` the `package` of that name.
    """
    types = list(parts["train"].types)
    found = trust(metrics, types)
    return [
        _learned(parts, types),
        *_scores(metrics),
        _confidence(metrics),
        f"To rely on: {listed(found.reliable) or 'none of the types yet'}.",
        _doubts(found),
        *([_dropped(dropped)] if dropped else []),
        _next(parts, found, dropped, effort),
        f"Report: {files['report']}. Model card: {files['card']}.",
        f"Install it, in any environment: {files['install']}",
        _load(files),
    ]


def _load(files: Mapping[str, str]) -> str:
    return (
        f'Load it: nlp = spacy.load("{files["package"]}")  # without installing it: '
        f"spacy.load({files['pipeline']!r})"
    )


def _learned(parts: Mapping[str, Part], types: list[str]) -> str:
    train, dev, test = (parts[name] for name in PARTS)
    return (
        f"Learned {counted(len(types), 'type')} from {counted(train.documents, 'document')} with "
        f"{counted(train.mentions, 'mention')}. {dev.documents:,} more calibrate the confidence, "
        f"and {test.documents:,} others measure it all."
    )


def _scores(metrics: Metrics) -> Iterator[str]:
    scores = metrics["scores"]
    kind, what = _kind(metrics), "Mentions" if metrics["overlapping"] else "Entities"
    names = {"F1": f"{kind}_f", "precision": f"{kind}_p", "recall": f"{kind}_r"}
    shown = ", ".join(f"{title} {_interval(scores.get(name))}" for title, name in names.items())
    yield f"{what}, exact, with 95% intervals: {shown}."
    yield (
        f"Recall of all types alike: UAR {_interval(scores.get('tag_uar'))}. F1 of all types "
        f"alike: {_interval(scores.get(f'{kind}_macro_f'))}."
    )


def _interval(row: Metrics | None) -> str:
    if row is None:
        return "not measured"
    if row["low"] is None:
        return f"{row['value']:.1%}"
    return f"{row['value']:.1%} ({100 * row['low']:.1f} to {100 * row['high']:.1f})"


def _confidence(metrics: Metrics) -> str:
    row = metrics["scores"].get(f"{_kind(metrics)}_ece")
    if row is None:
        return "Confidence: not measured, since no predicted mention is correct."
    return (
        f"Confidence: {_interval(row)} off on average, so of mentions with confidence 0.8 about 8 "
        "of 10 are correct, give or take that."
    )


def _doubts(found: Trust) -> str:
    groups = {
        f"F1 not surely above {RELIABLE:.0%}": found.poor,
        f"fewer than {FEW_MENTIONS} mentions to measure by": found.unmeasured,
    }
    shown = [f"{listed(types)} ({why})" for why, types in groups.items() if types]
    return f"Not to be trusted yet: {'; '.join(shown) or 'none'}."


def _dropped(dropped: Mapping[str, int]) -> str:
    names = [f"{label} ({count})" for label, count in sorted(dropped.items())]
    return f"Not learned, with too few mentions: {listed(names)}."


def _next(
    parts: Mapping[str, Part], found: Trust, dropped: Mapping[str, int], effort: Effort
) -> str:
    totals = {
        label: sum(part.types.get(label, 0) for part in parts.values())
        for label in [*found.unmeasured, *found.poor]
    }
    rare = sorted({**totals, **dropped}.items(), key=lambda item: (item[1], item[0]))
    wanted = [f"{label} ({count})" for label, count in rare if count < ENOUGH]
    if wanted:
        return (
            f"Next: annotate more notes with {listed(wanted, 6)}, until each has some {ENOUGH} "
            "mentions, and run the same command."
        )
    if found.poor:
        longer = f"train longer (--effort {LONGER[effort]}), and " if effort in LONGER else ""
        return (
            f"Next: {longer}see whether {listed(found.poor, 6)} are annotated the same way in all "
            "notes (`btl evaluate --with-text` shows the worst errors)."
        )
    return "Next: choose an operating point (`btl tune`), and measure on notes of another source."
