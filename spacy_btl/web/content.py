"""What the page holds, from entities: marked text, tables, downloads. Knows no Streamlit."""

import html
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from spacy import displacy
from spacy.tokens import Doc, Span

from spacy_btl.annotate.entities import Annotated, entities_of
from spacy_btl.annotate.formats import BRAT, Stamp, rows
from spacy_btl.annotate.notes import Note
from spacy_btl.colors import colors_of
from spacy_btl.errors import PageError
from spacy_btl.pipeline.annotations import confidence
from spacy_btl.pipeline.explanation import TokenExplanation, in_context, top_neighbors
from spacy_btl.pipelines import fingerprint, model_name
from spacy_btl.web.session import OpenNote, OpenPipeline

SHOWN = 8  # neighbours of an entity
# Dark letters on a pastel, whatever the page around them is. The title is what a pointer sees.
MARK = """<mark class="entity" title="{about}" style="background: {bg}; color: #1a1a1a; \
padding: 0.15em 0.4em; margin: 0 0.1em; border-radius: 0.35em; \
-webkit-box-decoration-break: clone; box-decoration-break: clone;">{text} \
<span style="font-size: 0.72em; font-weight: 600; white-space: nowrap;">{label}\
<span style="font-weight: 400;">{figure}</span></span></mark>"""
CHIP = """<span style="background: {color}; color: #1a1a1a; padding: 0.1em 0.5em; \
border-radius: 0.35em; margin: 0 0.35em 0.35em 0; display: inline-block; \
font-size: 0.8em;">{label} <b>{count}</b></span>"""


def marked(text: str, ents: Sequence[Span], labels: Sequence[str] = ()) -> str:
    """The text as HTML, by displaCy: entities in the colour of their type, with confidence.

    labels (Sequence[str]): All types of the pipeline: so each keeps its colour from note to note.
    """
    found: list[dict[str, Any]] = []
    colors = colors_of([*labels, *(ent.label_ for ent in ents)])
    for ent in ents:
        value = confidence(ent)
        figure = "" if value is None else f" {value:.2f}"
        label = html.escape(ent.label_)  # displaCy escapes the text and not the labels
        about = f"{label}, characters {ent.start_char} to {ent.end_char}"
        # A type that displaCy does not know gets a colour of its own, by `bg`.
        params = {"figure": figure, "about": about, "bg": colors[ent.label_]}
        place = {"start": ent.start_char, "end": ent.end_char}
        found.append({**place, "label": label, "params": params})
    return displacy.render(
        {"text": text, "ents": found},
        style="ent",
        manual=True,
        page=False,
        jupyter=False,
        options={"template": MARK},
    )


def legend(ents: Sequence[Span], labels: Sequence[str] = ()) -> str:
    """A chip of HTML for each type, the most frequent first, with the number of its entities.
    labels (Sequence[str]): As for `marked`."""
    counts = Counter(ent.label_ for ent in ents)
    colors = colors_of([*labels, *counts])
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return "".join(
        CHIP.format(color=colors[label], label=html.escape(label), count=count)
        for label, count in ranked
    )


def entity_rows(ents: Sequence[Span]) -> list[dict[str, Any]]:
    """A row of the table for each entity."""
    return [
        {
            "text": " ".join(ent.text.split()),
            "type": ent.label_,
            "confidence": confidence(ent),
            "start": ent.start_char,
            "end": ent.end_char,
        }
        for ent in ents
    ]


def vote_shares(explanations: Sequence[TokenExplanation]) -> list[tuple[str, float]]:
    """The share of the votes on an entity's tokens that each label has, the largest first."""
    shares: dict[str, float] = defaultdict(float)
    voted = [token for token in explanations if token.neighbors]
    for token in voted:
        for neighbor in token.neighbors:
            shares[neighbor.label] += neighbor.weight / len(voted)
    return sorted(shares.items(), key=lambda item: -item[1])


def neighbor_rows(
    explanations: Sequence[TokenExplanation], corpus: list[Doc] | None
) -> list[dict[str, Any]]:
    """A row of the table for each neighbour that counts most.

    corpus (Optional[List[Doc]]): What the calibrator was fitted to, to quote the neighbours.
    """
    table = []
    for neighbor in top_neighbors(explanations, SHOWN):
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
    """The entities as JSON: the rows that `btl annotate --with-text` writes."""
    stamp = Stamp(*model_name(pipeline.nlp), date="", integer_ids=False, with_text=True)
    found = list(rows(_annotated(note, ents), stamp))
    return (json.dumps(found, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def as_brat(pipeline: OpenPipeline, note: OpenNote, ents: Sequence[Span]) -> bytes:
    """The entities as a brat .ann file, as `btl annotate` writes it."""
    stamp = Stamp(*model_name(pipeline.nlp), date="", integer_ids=False, with_text=True)
    files = dict(BRAT.render("", _annotated(note, ents), stamp, 0))
    return files[f"{note.name}.ann"]


def _annotated(note: OpenNote, ents: Sequence[Span]) -> Annotated:
    source = Note(note.name, note.doc.text, where=note.name)
    return Annotated([source], list(entities_of(note.name, ents)), [])


def read_metrics(path: Path, pipeline: OpenPipeline) -> list[dict[str, Any]]:
    """A row per type of the evaluation, the rarest first, from the `metrics.json` of `evaluate`.

    RAISES: PageError, for a file that is missing, or is another one, or of another pipeline.
    """
    try:
        metrics = json.loads(path.read_text("utf-8"))
        table = [
            {
                "type": label,
                "mentions": row["support"],
                "precision": row["ents_p"]["value"],
                "recall": row["ents_r"]["value"],
                "F1": row["ents_f"]["value"],
                "95% interval of F1": f"{row['ents_f']['low']:.0%} to {row['ents_f']['high']:.0%}",
            }
            for label, row in metrics["types"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = "no such file" if isinstance(error, OSError) else "it has no scores per type"
        raise PageError(
            f"{path}: {reason}. Give the metrics.json that `python -m spacy btl evaluate` wrote."
        ) from None
    if metrics.get("model_files") != _loaded(pipeline.nlp.path):
        raise PageError(f"{path}: it measured another pipeline, or this one before it was changed.")
    return table


@cache
def _loaded(folder: Path) -> str:
    """The fingerprint of a pipeline, taken once: every click draws the page anew."""
    return fingerprint(folder)
