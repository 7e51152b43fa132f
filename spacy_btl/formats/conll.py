"""Read CoNLL: a token and its tag per line, an empty line between sentences."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, text_problem
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.corpora.source import Source
from spacy_btl.formats.tokens import joined, mentions_of_tags, tag_problem

DOCSTART = "-DOCSTART-"
# Comments of CoNLL-U and of shared tasks. A token may be a number sign itself.
COMMENT = re.compile(r"#\s*(newdoc|newpar|sent_id|text|global\.columns|id)\b")
NEW_DOCUMENT = re.compile(r"#\s*newdoc\b")
NO_DOCUMENTS = "sentences taken for notes, since no line says -DOCSTART-"


class Line(NamedTuple):
    """A token, its tag and its place."""

    token: str
    tag: str
    where: str


def is_conll(source: Source) -> bool:
    """Whether the first lines have a token and a tag each."""
    lines = [line for line in source.head.split("\n")[:-1] or [source.head] if line.strip()]
    lines = [line for line in lines if not COMMENT.match(line)][:20]
    if lines and lines[0].startswith(DOCSTART):
        return True
    columns = [_columns(line) for line in lines]
    tagged = sum(len(cells) > 1 and tag_problem(cells[-1]) is None for cells in columns)
    return bool(lines) and 2 * tagged > len(lines)  # most: a line may be broken


def read_conll(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the documents of CoNLL files; the first column is the token, the last one the tag.

    Columns are divided by tabs, or by spaces if there is no tab. Documents begin with -DOCSTART-.
    Without it, each sentence is a note. The text has a space between tokens and a line end between
    sentences, since the format does not keep the space of the original.

    YIELDS (Note): Its id is `document-000001` or `sentence-000001`.
    RAISES: CorpusError, for a line without a tag, unless the report skips its note.
    """
    for source in sources:
        by_document, documents = _documents(source)
        unit = "document" if by_document else "sentence"
        for number, sentences in enumerate(documents, start=1):
            report.notes_read += 1
            note_id = source.note_id(number, unit)
            place = source.place(f"{unit} {number}")
            note = _read_note(Note(note_id, "", (), where=place), sentences, report)
            if note is not None:
                if not by_document:
                    report.remarks[NO_DOCUMENTS] += 1
                yield note


def _documents(source: Source) -> tuple[bool, list[list[list[Line]]]]:
    """Return whether a line begins a document, and the documents as lists of sentences."""
    documents: list[list[list[Line]]] = [[[]]]
    marked = False
    for line, where in source.lines():
        if line.startswith(DOCSTART) or NEW_DOCUMENT.match(line):
            marked = True
            documents.append([[]])
        elif not line.strip():
            documents[-1].append([])
        elif not COMMENT.match(line):
            cells = _columns(line)
            tag = cells[-1] if len(cells) > 1 else ""
            documents[-1][-1].append(Line(cells[0], tag, where))
    kept = [[lines for lines in sentences if lines] for sentences in documents]
    if marked:
        # What stands before the first one is a document if it holds a token.
        return True, kept if kept[0] else kept[1:]
    return False, [[lines] for sentences in kept for lines in sentences]


def _columns(line: str) -> list[str]:
    line = line.removesuffix("\r")
    if "\t" in line:
        return [cell.strip() for cell in line.rstrip("\t").split("\t")]
    return line.split()


def _read_note(
    note: Note, sentences: Sequence[Sequence[Line]], report: ConversionReport
) -> Note | None:
    texts, claims, start = [], list[Claim](), 0
    for lines in sentences:
        for line in lines:
            if problem := tag_problem(line.tag):
                report.skip(report.notes_skipped, problem, line.where)
                return None
        text, offsets = joined([line.token for line in lines])
        for label, first, last in mentions_of_tags([line.tag for line in lines]):
            place = (start + offsets[first][0], start + offsets[last][1])
            mention = Mention(f"T{len(claims) + 1}", report.normalize_label(label), (place,))
            claims.append(Claim(lines[first].where, mention))
        texts.append(text)
        start += len(text) + 1
    text = "\n".join(texts)
    if problem := text_problem(text):
        where = sentences[0][0].where if sentences else note.where
        report.skip(report.notes_skipped, problem, where)
        return None
    return note_from_claims(Note(note.id, text, (), where=note.where), claims, report)
