"""What the counts of a corpus say, in sentences, for whoever reads its table."""

from collections.abc import Iterator
from pathlib import Path

from spacy_btl.corpora.report import report_file
from spacy_btl.corpora.stats import CorpusStats, Listed
from spacy_btl.errors import counted


def remarks(corpus: Path, stats: CorpusStats) -> Iterator[str]:
    """Sentences about the counts of a corpus, without text of a note.

    corpus (Path): The `.spacy` file that was counted.
    """
    yield (
        f"{counted(stats.documents, 'document')}, {counted(stats.tokens, 'token')}, "
        f"{counted(stats.mentions, 'mention')}, {counted(len(stats.types), 'type')}"
    )
    if stats.tokens_missing:
        missing = counted(stats.tokens_missing, "more token")
        yield f"{missing} without annotation, not counted"
    if stats.over_line_ends:
        yield (
            f"{counted(stats.over_line_ends, 'mention')} over a line end, {stats.cut_by_io:,} of "
            "them where the tag scheme IO ends an entity: at an empty line, or behind a line that "
            "is not full"
        )
    if stats.listed:
        yield from _of_listed(stats.listed)
    if report_file(corpus).is_file():
        yield f"What its conversion kept, moved and left out: {report_file(corpus)}"


def _of_listed(listed: Listed) -> Iterator[str]:
    if listed.left_out:
        yield (
            f"{counted(listed.left_out, 'more mention')} left out of doc.ents, which cannot overlap"
        )
    if listed.white_space:
        yield f"{counted(listed.white_space, 'mention')} of white space alone, not counted"
    if listed.discontinuous:
        yield (
            f"{counted(listed.discontinuous, 'discontinuous mention')}, each read as its enclosing "
            "span"
        )
    for reason, count in listed.lost.items():
        yield f"{counted(count, 'mention')} that spans_key cannot express either: {reason}"
    if listed.expressible.mentions:
        yield str(listed.expressible)
