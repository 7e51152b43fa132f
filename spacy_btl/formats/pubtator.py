"""Read PubTator: a title, an abstract and a line per mention."""

import re
from collections.abc import Iterator, Sequence

from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source

TITLE = re.compile(r"[^|\t\n]+\|t\|")
TITLE_OR_ABSTRACT = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)


def is_pubtator(source: Source) -> bool:
    """Whether it begins with a title: `12345|t|`."""
    return bool(TITLE.match(source.head))


def read_pubtator(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read PubTator: `ID|t|title`, `ID|a|abstract`, then a line per mention.

    It is read here and not by `bioc`, which prints lines that it cannot read, so part of a note,
    and takes a mention without a concept for a relation. The text is the title, a line end and the
    abstract.

    YIELDS (Note): Its id is that of the document.
    RAISES: CorpusError, for a line that is no mention, unless the report skips its note.
    """
    for source in sources:
        number = 0
        block = list[tuple[str, str]]()
        for line, where in [*source.lines(), ("", "")]:
            if line.strip():
                block.append((line, where))
            elif block:
                number += 1
                note = _read_block(block, source, f"document {number}", report)
                block = []
                if note is not None:
                    yield note


def _read_block(
    block: Sequence[tuple[str, str]], source: Source, place: str, report: ConversionReport
) -> Note | None:
    report.notes_read += 1
    texts, claims, note_id = {}, list[Claim](), ""
    for line, where in block:
        if match := TITLE_OR_ABSTRACT.fullmatch(line):
            note_id, texts[match[2]] = match[1], match[3]
            continue
        cells = line.split("\t")
        if len(cells) >= 5 and cells[1].isdecimal() and cells[2].isdecimal() and len(line) < 10_000:
            claims.append(_pubtator_claim(cells, f"T{len(claims) + 1}", where, report))
        elif len(cells) >= 4 and cells[0] == note_id:
            report.remarks[OTHER_ANNOTATION] += 1  # a relation
        else:
            report.skip(report.notes_skipped, "neither a text nor a mention", where)
            return None
    text = "\n".join(texts[part] for part in "ta" if part in texts)
    if problem := None if "t" in texts else "document without a title":
        report.skip(report.notes_skipped, problem, block[0][1])
        return None
    if problem := text_problem(text):
        report.skip(report.notes_skipped, problem, block[0][1])
        return None
    return note_from_claims(Note(note_id, text, (), where=source.place(place)), claims, report)


def _pubtator_claim(
    cells: Sequence[str], number: str, where: str, report: ConversionReport
) -> Claim:
    start, end, text, label = int(cells[1][:10]), int(cells[2][:10]), cells[3], cells[4]
    mention = Mention(number, report.normalize_label(label), ((start, end),))
    problem = None if label.strip() else "mention without a type"
    return Claim(where, mention, (text,), problem)
