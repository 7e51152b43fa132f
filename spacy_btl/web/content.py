"""The content of the page: marked text, tables and downloads. Does not depend on Streamlit."""

import html
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from spacy.tokens import Doc, Span

from spacy_btl.colors import colors_of
from spacy_btl.context.assertions import assertions
from spacy_btl.context.pipe import find_contexts
from spacy_btl.errors import PageError
from spacy_btl.marks import Mention, drawn
from spacy_btl.notes.entities import Annotated, entities_of
from spacy_btl.notes.notes import Note
from spacy_btl.outputs.formats import BRAT, rows
from spacy_btl.outputs.stamp import Stamp
from spacy_btl.pipeline.annotations import confidence
from spacy_btl.pipeline.explanation import TokenExplanation, in_context, top_neighbors
from spacy_btl.pipelines import fingerprint, model_name
from spacy_btl.web.session import OpenNote, OpenPipeline

N_NEIGHBORS = 8  # to show for an entity
CHIP = """<span style="background: {color}; color: #1a1a1a; padding: 0.1em 0.5em; \
border-radius: 0.35em; margin: 0 0.35em 0.35em 0; display: inline-block; \
font-size: 0.8em;">{label} <b>{count}</b></span>"""


def marked(text: str, ents: Sequence[Span], labels: Sequence[str] = ()) -> str:
    """Render a text as HTML: entities, or mentions that overlap, in the colour of their type, with
    confidence. Negated ones are struck through.

    labels (Sequence[str]): All types of the pipeline, so that each keeps its colour in every note.
    """
    colors = colors_of([*labels, *(ent.label_ for ent in ents)])
    mentions = []
    for ent in ents:
        said = assertions(ent)
        negated = said is not None and said.negated
        mentions.append(Mention(ent.start_char, ent.end_char, ent.label_, confidence(ent), negated))
    return drawn(text, mentions, colors)


def legend(ents: Sequence[Span], labels: Sequence[str] = ()) -> str:
    """Render the types with the number of their entities as HTML, the most frequent first.

    labels (Sequence[str]): See `marked`.
    """
    counts = Counter(ent.label_ for ent in ents)
    colors = colors_of([*labels, *counts])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(
        CHIP.format(color=colors[label], label=html.escape(label), count=count)
        for label, count in ranked
    )


def overlapping(ent: Span, ents: Sequence[Span]) -> list[Span]:
    """Those of some mentions that overlap one of them."""
    return [
        other for other in ents if other != ent and other.start < ent.end and ent.start < other.end
    ]


def entity_rows(ents: Sequence[Span]) -> list[dict[str, Any]]:
    """Return a table row for each entity, with its assertions if there are any."""
    table = []
    for ent in ents:
        said = assertions(ent)
        table.append(
            {
                "text": " ".join(ent.text.split()),
                "type": ent.label_,
                "confidence": confidence(ent),
                "start": ent.start_char,
                "end": ent.end_char,
                **({} if said is None else said._asdict()),
            }
        )
    return table


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


def as_json(pipeline: OpenPipeline, note: OpenNote, ents: Sequence[Span]) -> bytes:
    """Return the entities as JSON, in the rows of `btl annotate --with-text`."""
    entities = list(rows(_annotated(note, ents), _stamp(pipeline)))
    return (json.dumps(entities, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def as_brat(pipeline: OpenPipeline, note: OpenNote, ents: Sequence[Span]) -> bytes:
    """Return the entities as a brat .ann file, as `btl annotate` writes it."""
    files = dict(BRAT.render("", _annotated(note, ents), _stamp(pipeline), 0))
    return files[f"{note.name}.ann"]


def _stamp(pipeline: OpenPipeline) -> Stamp:
    return Stamp(
        *model_name(pipeline.nlp),
        date="",
        integer_ids=False,
        with_text=True,
        asserts=bool(find_contexts(pipeline.nlp)),
    )


def _annotated(note: OpenNote, ents: Sequence[Span]) -> Annotated:
    source = Note(note.name, note.doc.text, where=note.name)
    return Annotated([source], list(entities_of(note.name, ents)), [])


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
