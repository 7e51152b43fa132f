"""Documents that several people annotated: take one of them, and measure how far they agree."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

from spacy.scorer import PRFScore

from spacy_btl.corpora.note import Fragments, Note
from spacy_btl.corpora.report import Agreement, ConversionReport
from spacy_btl.errors import CorpusError

OTHERS = "annotation of another annotator of the same document"
EARLIER = "earlier annotation by the same annotator"
NOT_BY = "document that the given annotator did not annotate"


def one_annotator(
    notes: Iterable[Note], annotator: str | None, report: ConversionReport
) -> list[Note]:
    """Keep one annotation of each document, and report the agreement of its annotators.

    Curated annotation comes first. Else it is that of the annotator who is asked for; without one,
    of whoever annotated the most documents. Of several by one annotator, the last is kept. Notes
    whose annotator is unknown are kept.

    annotator (Optional[str]): The annotator to take. Documents without curated annotation that
        this annotator did not annotate are left out.
    RAISES: CorpusError, if no note is by this annotator.
    """
    notes = list(notes)
    documents: dict[tuple[str, str], dict[tuple[str, bool], Note]] = {}
    kept = list[Note | tuple[str, str]]()
    for note in notes:
        key = (note.document or note.id, note.text)
        if note.annotator is None:
            kept.append(note)
            continue
        if key not in documents:
            kept.append(key)
        versions = documents.setdefault(key, {})
        if versions.pop((note.annotator, note.curated), None) is not None:
            report.notes_skipped[EARLIER] += 1
        versions[note.annotator, note.curated] = note
    by_annotator = Counter(
        name for versions in documents.values() for name, curated in versions if not curated
    )
    if annotator is not None and annotator not in by_annotator:
        names = ", ".join(sorted(by_annotator)) or "none is named"
        raise CorpusError(f"No note is annotated by {annotator}. The annotators are: {names}.")
    report.annotators.update(by_annotator)
    report.agreement = _agreement(list(documents.values()))
    chosen = []
    for note_or_key in kept:
        if isinstance(note_or_key, Note):
            chosen.append(note_or_key)
            continue
        versions = documents[note_or_key]
        one = _chosen(list(versions.values()), annotator, by_annotator)
        report.notes_skipped[OTHERS if one else NOT_BY] += len(versions) - bool(one)
        chosen += [one] if one else []
    report.notes_skipped += Counter()  # without counts of zero
    return chosen


def _chosen(
    versions: Sequence[Note], annotator: str | None, by_annotator: Counter[str]
) -> Note | None:
    """The annotation to keep of a document; None if the annotator has none."""
    curated = [note for note in versions if note.curated]
    if curated:
        return curated[-1]
    if annotator is not None:
        return next((note for note in versions if note.annotator == annotator), None)
    return min(versions, key=lambda note: (-by_annotator[note.annotator or ""], note.annotator))


def _agreement(documents: Sequence[dict[tuple[str, bool], Note]]) -> dict[str, Agreement]:
    """The agreement on each type, over all pairs of annotators of a document.

    It is the F1 of one annotator's mentions against the other's. Mentions agree if they have the
    same type and offsets. Curated annotation is not counted.
    """
    scores: dict[str, PRFScore] = {}
    pairs: Counter[str] = Counter()
    for versions in documents:
        by_annotator = [_mentions(note) for (_, curated), note in versions.items() if not curated]
        for first, second in combinations(by_annotator, 2):
            for label in {type_ for type_, _ in first | second}:
                one, other = (
                    {item for item in items if item[0] == label} for items in (first, second)
                )
                scores.setdefault(label, PRFScore()).score_set(one, other)
                pairs[label] += 1
    return {
        label: Agreement(score.fscore, score.tp, score.fp + score.fn, pairs[label])
        for label, score in sorted(scores.items())
    }


def _mentions(note: Note) -> set[tuple[str, Fragments]]:
    return {(mention.type, mention.fragments) for mention in note.mentions}
