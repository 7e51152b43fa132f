"""The content of the page: marked text and tables. Does not depend on Streamlit."""

import html
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from spacy.tokens import Doc

from spacy_btl.colors import colors_of
from spacy_btl.errors import PageError
from spacy_btl.marks import Mention, drawn
from spacy_btl.notes.entities import Entity
from spacy_btl.pipeline.explanation import TokenExplanation, in_context, top_neighbors
from spacy_btl.pipelines import fingerprint
from spacy_btl.web.corrections import Correction
from spacy_btl.web.session import OpenPipeline

N_NEIGHBORS = 8  # to show for an entity
N_BARS = 4  # of the labels of all its neighbours
OUTSIDE = "#d7d7d7"  # the colour of what is no entity
CHIP = """<span style="background: {color}; color: #1a1a1a; padding: 0.1em 0.5em; \
border-radius: 0.35em; margin: 0 0.35em 0.35em 0; display: inline-block; \
font-size: 0.8em;">{label} <b>{count}</b></span>"""
BAR = """<div style="display: flex; gap: 0.5em; align-items: center; font-size: 0.85em">\
<span style="flex: 0 0 45%; overflow-wrap: anywhere">{label}</span>\
<span style="flex: 1"><span style="display: block; height: 0.7em; border-radius: 0.2em; \
width: {share:.0%}; background: {color}; box-shadow: inset 0 0 0 1px rgba(0, 0, 0, 0.25)"></span>\
</span><span style="flex: 0 0 2.6em; text-align: right">{share:.0%}</span></div>"""


def marked(text: str, entities: Sequence[Entity], labels: Sequence[str] = ()) -> str:
    """Render a text as HTML: entities, or mentions that overlap, in the colour of their type, the
    paler the lower their confidence. Negated ones are struck through.

    labels (Sequence[str]): All types of the pipeline, so that each keeps its colour in every note.
    """
    colors = colors_of([*labels, *(one.label for one in entities)])
    mentions = [
        Mention(
            one.start,
            one.end,
            one.label,
            one.confidence,
            one.assertions is not None and one.assertions.negated,
        )
        for one in entities
    ]
    return drawn(text, mentions, colors)


def legend(entities: Sequence[Entity], labels: Sequence[str] = ()) -> str:
    """Render the types with the number of their entities as HTML, the most frequent first.

    labels (Sequence[str]): See `marked`.
    """
    counts = Counter(one.label for one in entities)
    colors = colors_of([*labels, *counts])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(
        CHIP.format(color=colors[label], label=html.escape(label), count=count)
        for label, count in ranked
    )


def headline(entity: Entity, entities: Sequence[Entity], labels: Sequence[str] = ()) -> str:
    """Render an entity as HTML: its words, its type, and what is known of it.

    entities (Sequence[Entity]): All that are shown, to name those that overlap it.
    labels (Sequence[str]): See `marked`.
    """
    chip = CHIP.format(
        color=colors_of([*labels, entity.label])[entity.label],
        label=html.escape(entity.label),
        count="",
    )
    facts = [
        "No confidence" if entity.confidence is None else f"Confidence {entity.confidence:.2f}",
        *(entity.assertions.kinds if entity.assertions else ()),
        *([f"under {entity.section}"] if entity.section else ()),
    ]
    if others := overlapping(entity, entities):
        facts.append("overlaps " + "; ".join(map(named, others)))
    return (
        f'<div style="overflow-wrap:anywhere">{quoted(entity.text)} {chip}'
        f'<br><span style="font-size:0.9em">{html.escape(", ".join(facts))}</span></div>'
    )


def named(entity: Entity) -> str:
    """An entity in a list."""
    figure = "" if entity.confidence is None else f", {entity.confidence:.2f}"
    return f"{one_line(entity.text)}: {entity.label}{figure}"


def one_line(text: str) -> str:
    """A text without line ends."""
    return " ".join(text.split())


def quoted(text: str) -> str:
    """Render words of the note as HTML."""
    return f'<b style="overflow-wrap:anywhere">{html.escape(one_line(text))}</b>'


def described(correction: Correction) -> str:
    """Render a correction as HTML."""
    found, meant = correction
    text, change = "", ""
    if found is not None:
        text, change = found.text, f"{found.label} deleted"
    if meant is not None:
        text, change = meant.text, f"{meant.label} added"
    if found is not None and meant is not None:
        change = f"{found.label} is {meant.label}"
    return f"{quoted(text)} {html.escape(change)}"


def overlapping(entity: Entity, entities: Sequence[Entity]) -> list[Entity]:
    """Those of some entities that overlap one of them."""
    return [
        other
        for other in entities
        if other != entity and other.start < entity.end and entity.start < other.end
    ]


def entity_rows(entities: Sequence[Entity]) -> list[dict[str, Any]]:
    """Return a table row for each entity, with its assertions if there are any."""
    return [
        {
            "text": one_line(one.text),
            "type": one.label,
            "confidence": one.confidence,
            "start": one.start,
            "end": one.end,
            **({} if one.assertions is None else one.assertions._asdict()),
            **({} if one.section is None else {"section": one.section}),
        }
        for one in entities
    ]


def vote_bars(shares: Sequence[tuple[str, float]], labels: Sequence[str] = ()) -> str:
    """Render the shares of `vote_shares` as bars in HTML.

    labels (Sequence[str]): See `marked`.
    """
    colors = colors_of(labels)
    colors |= {f"{border}-{label}": color for label, color in colors.items() for border in "BI"}
    return "".join(
        BAR.format(color=colors.get(label, OUTSIDE), label=html.escape(label), share=share)
        for label, share in shares[:N_BARS]
    )


def vote_shares(explanations: Sequence[TokenExplanation]) -> list[tuple[str, float]]:
    """Return the share of each label in the neighbour weights of an entity, largest first."""
    shares: dict[str, float] = defaultdict(float)
    voted = [token for token in explanations if token.neighbors]
    for token in voted:
        for neighbor in token.neighbors:
            shares[neighbor.label] += neighbor.weight / len(voted)
    return sorted(shares.items(), key=lambda item: -item[1])


def neighbor_rows(
    explanations: Sequence[TokenExplanation], corpus: list[Doc] | None
) -> list[dict[str, Any]]:
    """Return a table row for each of the neighbours with the largest weights.

    corpus (Optional[List[Doc]]): The corpus of the datastore, to quote the neighbours.
    """
    table = []
    for neighbor in top_neighbors(explanations, N_NEIGHBORS):
        row: dict[str, Any] = {"label": neighbor.label}
        if corpus is not None:
            row["text"] = "{} [{}] {}".format(*in_context(corpus, neighbor)).strip()
        row |= {
            "weight": neighbor.weight,
            "distance": neighbor.distance,
            "document": neighbor.document,
            "start": neighbor.start,
            "end": neighbor.end,
        }
        table.append(row)
    return table


def read_metrics(path: Path, pipeline: OpenPipeline) -> list[dict[str, Any]]:
    """Return a table row for each type, the rarest first, of the `metrics.json` of `evaluate`.

    RAISES: PageError, for a missing file, another kind of file, or one of another pipeline.
    """
    try:
        metrics = json.loads(path.read_text("utf-8"))
        p, r, f = (f"{'spans_btl' if metrics['overlapping'] else 'ents'}_{key}" for key in "prf")
        table = [
            {
                "type": label,
                "mentions": row["support"],
                "precision": row[p]["value"],
                "recall": row[r]["value"],
                "F1": row[f]["value"],
                "95% interval of F1": f"{row[f]['low']:.0%} to {row[f]['high']:.0%}",
            }
            for label, row in metrics["types"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = "no such file" if isinstance(error, OSError) else "it has no scores per type"
        raise PageError(
            f"{path}: {reason}. Give the metrics.json that `python -m spacy btl evaluate` wrote."
        ) from None
    if metrics.get("model_files") != _fingerprint(pipeline.nlp.path):
        raise PageError(f"{path}: it measured another pipeline, or an earlier version of this one.")
    return table


@cache
def _fingerprint(folder: Path) -> str:
    """The fingerprint of a pipeline, cached because every click draws the page again."""
    return fingerprint(folder)
