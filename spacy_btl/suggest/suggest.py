"""Choose the notes to annotate next, and write their ranking."""

import heapq
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from pathlib import Path
from typing import NamedTuple

import numpy as np
from spacy.language import Language

from spacy_btl.errors import AnnotateError
from spacy_btl.files import write_file
from spacy_btl.notes.notes import counted_notes, read_notes, scan_notes
from spacy_btl.pipelines import load_pipeline
from spacy_btl.suggest.choosing import COST, Choice, choose
from spacy_btl.suggest.contents import Contents, gain
from spacy_btl.suggest.reading import Annotated, Knowledge, Passed, new_docs

# Notes that are compared with each other: those of the greatest gain while none is chosen. A gain
# only falls with what is chosen before.
COMPARED = 2000
NAMED = 3  # types in the reason of a choice
FEWEST = 0.05  # expected mentions of a type that is named


@dataclass(frozen=True)
class Options:
    """What to choose from, and how.

    n (int): How many notes.
    annotated (Sequence[Path]): See `Annotated.read`.
    cost (float): What a note costs, in its words to this power; see `choose`.
    text_column, id_column (str): The columns of a table.
    batch_size (Optional[int]): Notes per batch; None uses the pipeline's own.
    """

    n: int = 10
    annotated: Sequence[Path] = ()
    cost: float = COST
    text_column: str = "text"
    id_column: str = "id"
    batch_size: int | None = None


@dataclass(frozen=True)
class Suggestion:
    """A chosen note.

    id (Union[str, int]): Its id.
    words (int): Its words.
    gain (float): How much it lessens what is left to learn, after the notes chosen before it.
    expected (Dict[str, float]): Expected mentions of the types that it was chosen for.
    doubt (float): The expected share of its words whose tag is wrong.
    unlike (Optional[float]): The share of its words that are unlike every labelled one, if known.
    """

    id: str | int
    words: int
    gain: float
    expected: dict[str, float]
    doubt: float
    unlike: float | None

    @property
    def why(self) -> str:
        """The reason in one line, which quotes nothing of the note."""
        types = ", ".join(f"{number:.1f} {label}" for label, number in self.expected.items())
        parts = [f"expects {types}"] if types else []
        if self.unlike is not None:
            parts.append(f"{self.unlike:.0%} of its words unlike any annotated one")
        return "; ".join([*parts, f"{self.doubt:.0%} likely tagged wrong"])


@dataclass(frozen=True)
class Suggestions:
    """The choice.

    chosen (List[Suggestion]): The best first.
    notes (int): All notes of the input.
    passed (Counter[str]): The notes that could not be chosen, by the reason.
    first_failure (str): The place of the first that could not be read, and why.
    """

    chosen: list[Suggestion]
    notes: int
    passed: Counter[str]
    first_failure: str


class Candidate(NamedTuple):
    """A note that can be chosen."""

    id: str | int
    contents: Contents


def suggest_notes(
    model: str,
    notes: Path,
    output: Path,
    options: Options = Options(),
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_loaded: Callable[[Language], None] = lambda nlp: None,
) -> Suggestions:
    """Choose the notes whose annotation teaches most about rare types, and write their ranking.

    model (str): A package name or a folder of a pipeline with `btl_ner`, best a calibrated one.
    notes (Path): See `read_notes`. Notes that the pipeline was trained on are left out, as far as
        its datastore tells.
    output (Path): The ranking, as JSON lines: `id` (or the `id_column` of the notes), `rank`,
        `words`, `gain`, `expected`, `doubt`, `unlike` and `why` of each chosen note. It holds no
        text.
    on_progress (Callable[[int, int], None]): Called with the number of notes read, and of all.
    on_loaded (Callable[[Language], None]): Called with the pipeline.
    RAISES: BtlError, for a pipeline, input or output that cannot be used, or if no note can be
        chosen.

    >>> from spacy_btl import suggest_notes
    >>> suggestions = suggest_notes("calibrated", Path("notes"), Path("next.jsonl"))
    >>> len(suggestions.chosen)
    1
    """
    if output.suffix != ".jsonl":
        raise AnnotateError(f"{output}: a ranking is JSON lines. Give a name that ends in .jsonl.")
    if not 0 <= options.cost <= 1:
        raise AnnotateError(
            f"A cost of {options.cost:g} is not one from 0 (by note) to 1 (by word)."
        )
    if options.n < 1:
        raise AnnotateError(f"{options.n} notes cannot be chosen: give 1 or more.")
    inputs = (path.resolve() for path in (notes, *options.annotated))
    if any(output.resolve().is_relative_to(path) for path in inputs):
        raise AnnotateError(f"{output} is an input, or inside one. Give an output elsewhere.")
    nlp = load_pipeline(model)
    on_loaded(nlp)
    knowledge = Knowledge.of(nlp)
    annotated = Annotated.read(options.annotated, nlp, options.id_column)
    read = partial(read_notes, notes, text_column=options.text_column, id_column=options.id_column)
    total = scan_notes(read(), notes).notes
    passed = Passed()
    docs = new_docs(
        nlp,
        counted_notes(read(), lambda done: on_progress(done, total)),
        knowledge,
        annotated,
        passed,
        batch_size=options.batch_size or nlp.batch_size,
    )
    possible = (Candidate(note.id, knowledge.contents(doc)) for note, doc in docs)
    first_gain = partial(_first_gain, knowledge, options.cost)
    best = heapq.nlargest(max(COMPARED, 2 * options.n), possible, key=first_gain)
    if not best:
        raise AnnotateError(f"{notes}: no note is left to choose: {passed}.")
    contents = [candidate.contents for candidate in best]
    choices = choose(contents, knowledge.counts, options.n, near=knowledge.near, cost=options.cost)
    chosen = [_suggestion(best[choice.number], choice, knowledge) for choice in choices]
    lines = (_line(one, rank, options.id_column) for rank, one in enumerate(chosen, start=1))
    write_file(output, "".join(lines).encode("utf-8"))
    return Suggestions(chosen, total, +passed.reasons, passed.first_failure)


def _first_gain(knowledge: Knowledge, cost: float, candidate: Candidate) -> float:
    contents: Contents = candidate.contents
    total = float(gain(knowledge.counts, contents.expected).sum())
    return total / contents.words**cost


def _suggestion(candidate: Candidate, choice: Choice, knowledge: Knowledge) -> Suggestion:
    contents = candidate.contents
    order = np.argsort(-choice.gains, kind="stable")[:NAMED].tolist()
    named = [i for i in order if contents.mentions[i] >= FEWEST]
    types = knowledge.scheme.types
    return Suggestion(
        id=candidate.id,
        words=contents.words,
        gain=float(choice.gains.sum()),
        expected={types[i]: float(contents.mentions[i]) for i in named},
        doubt=contents.doubt,
        unlike=None if isnan(contents.unlike) else contents.unlike,
    )


def _line(chosen: Suggestion, rank: int, id_column: str) -> str:
    row = {
        id_column: chosen.id,
        "rank": rank,
        "words": chosen.words,
        "gain": float(f"{chosen.gain:.4g}"),
        "expected": {label: round(number, 2) for label, number in chosen.expected.items()},
        "doubt": round(chosen.doubt, 4),
        "unlike": None if chosen.unlike is None else round(chosen.unlike, 4),
        "why": chosen.why,
    }
    return json.dumps(row) + "\n"
