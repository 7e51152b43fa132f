"""`python -m spacy btl explain`: the entities of a note, and their nearest labelled tokens."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.table import Table
from wasabi import msg

from spacy_btl.cli._run import btl, exits_on_error

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc, Span

    from spacy_btl.pipeline.explanation import Neighbor
    from spacy_btl.pipeline.knn_calibrator import KnnCalibrator

SHOWN = 5  # neighbours of each entity


@btl.command("explain")
@exits_on_error
def explain_cli(
    model: str = typer.Argument(..., help="A calibrated pipeline: a package name or a folder"),
    note: typer.FileBinaryRead = typer.Argument(..., help="A text file, or - for standard input"),
    corpus: Path | None = typer.Option(
        None, help="The .spacy file that the calibrator was fitted to, to quote the neighbours"
    ),
    label: list[str] = typer.Option([], help="Show entities of this type only; may be repeated"),
) -> None:
    """Show the labelled tokens behind each entity of a note.

    For each entity: its confidence, and the nearest labelled tokens of the corpus that the
    calibrator was fitted to, those with the greatest weight first. The weight is a neighbour's
    share in the probabilities of the entity's tokens. The calibrator knows the number of a document
    (from 0) and offsets in it; the text is in the corpus only.
    """
    from spacy_btl.notes.entities import mentions_of, spans_keys
    from spacy_btl.pipeline.explanation import read_fitted_corpus, top_neighbors
    from spacy_btl.pipelines import load_pipeline

    nlp = load_pipeline(model)
    pipe = _pipe(nlp, model)
    datastore = pipe.calibrator.neighbor_rows()
    docs = None if corpus is None else read_fitted_corpus(corpus, nlp.vocab, datastore)
    doc = _annotate(nlp, _read(note))
    ents = mentions_of(doc, spans_keys(nlp))
    if datastore.tag_scheme.overlapping:  # a type that it does not know has no votes
        ents = [ent for ent in ents if ent.label_ in datastore.labels]
    ents = [ent for ent in ents if not label or ent.label_ in label]
    if not ents:
        msg.info(f"No entity{' of the type ' + ' or '.join(label) if label else ''} was found.")
    console = Console(markup=False, emoji=False, highlight=False)  # a note is no markup of rich
    for ent in ents:
        console.print(_heading(ent))
        console.print(_table(top_neighbors(pipe.explain(ent), SHOWN), docs), "")


def _pipe(nlp: "Language", model: str) -> "KnnCalibrator":
    from spacy_btl.errors import PipelineError
    from spacy_btl.pipeline.knn_calibrator import find_calibrator

    pipe = find_calibrator(nlp)
    if pipe is None:
        raise PipelineError(
            f"'{model}' has no fitted knn_calibrator, whose neighbours explain its entities: "
            f"{nlp.pipe_names}. Add one with `python -m spacy btl calibrate`."
        )
    return pipe


def _read(note: typer.FileBinaryRead) -> str:
    from spacy_btl.errors import CorpusError

    try:
        return note.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise CorpusError(f"{note.name}: not UTF-8. Save the note as UTF-8 text.") from None


def _annotate(nlp: "Language", text: str) -> "Doc":
    """Run the pipes that leave logits and tokens: they then need not be computed once more."""
    from spacy_btl.pipeline.logits import hiding_pipes

    return nlp(text, disable=hiding_pipes(nlp))


def _heading(ent: "Span") -> str:
    from spacy_btl.pipeline.annotations import confidence

    sure = confidence(ent)
    figure = "" if sure is None else f", confidence {sure:.2f}"
    return f"{' '.join(ent.text.split())}: {ent.label_} ({ent.start_char}-{ent.end_char}){figure}"


def _table(neighbors: list["Neighbor"], docs: list["Doc"] | None) -> Table:
    from spacy_btl.pipeline.explanation import in_context

    table = Table("label", "distance", "weight", "document", "offsets", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    if docs is not None:
        table.add_column("text")
    for neighbor in neighbors:
        offsets = f"{neighbor.start}-{neighbor.end}"
        figures = (f"{neighbor.distance:.2f}", f"{neighbor.weight:.1%}", str(neighbor.document))
        quoted = [] if docs is None else ["{} [{}] {}".format(*in_context(docs, neighbor)).strip()]
        table.add_row(neighbor.label, *figures, offsets, *quoted)
    return table
