"""Read the XML of the i2b2 and n2c2 shared tasks: a text and tags with offsets."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from typing import Any

from spacy_btl.corpora.claims import Claim, count_flaws, note_from_claims
from spacy_btl.corpora.note import Mention, Note, text_problem
from spacy_btl.corpora.report import OTHER_ANNOTATION, ConversionReport
from spacy_btl.corpora.source import Source

FROM_ONE = "notes whose offsets count from 1"
TYPE_KEYS = ("TYPE", "type")


def is_i2b2(source: Source) -> bool:
    """Whether it is XML with an element TEXT. TAGS may lie behind the head."""
    return source.head.startswith("<") and "<TEXT>" in source.head


def read_i2b2(sources: Sequence[Source], report: ConversionReport) -> Iterator[Note]:
    """Read the documents, one per file: of the tasks of 2012, 2014 and others of this form.

    Every element below TAGS that has a `start` and an `end` is a mention. Its type is its attribute
    TYPE or type, or the name of the element. Links, and tags of the document, are counted.

    YIELDS (Note): Its id is the name of the file.
    RAISES: CorpusError, for broken XML or an invalid tag, unless the report skips it.
    """
    for source in sources:
        report.notes_read += 1
        note = _read_file(source, report)
        if note is not None:
            yield note


def _read_file(source: Source, report: ConversionReport) -> Note | None:
    content = source.xml()
    try:
        root = ET.fromstring(content.decode("utf-8-sig"))
    except ET.ParseError as err:
        where = f"{source.where}, line {err.position[0]}"
        report.skip(report.notes_skipped, "looks like i2b2 XML, but is broken", where)
        return None
    except ValueError:  # not UTF-8
        report.skip(report.notes_skipped, "not UTF-8", source.where)
        return None
    text = "".join(root.findtext("TEXT") or "")
    tags = root.find("TAGS")
    if root.find("TEXT") is None or tags is None:
        reason = "looks like i2b2 XML, but has no TEXT and TAGS"
        report.skip(report.notes_skipped, reason, source.where)
        return None
    if problem := text_problem(text):
        report.skip(report.notes_skipped, problem, source.where)
        return None
    claims = list(_claims(tags, source, report))
    # The tools of some years count from 1.
    from_one = [_shifted(claim, -1) for claim in claims]
    if count_flaws(text, from_one) < count_flaws(text, claims):
        report.remarks[FROM_ONE] += 1
        claims = from_one
    note = Note(source.name, text, (), where=source.place("its text"))
    return note_from_claims(note, claims, report)


def _claims(tags: Any, source: Source, report: ConversionReport) -> Iterator[Claim]:
    for number, tag in enumerate(tags.iter(), start=0):
        if tag is tags:
            continue
        where = f"{source.where}, tag {number}"
        start, end = tag.get("start"), tag.get("end")
        if start is None or end is None or start == end == "-1":
            report.remarks[OTHER_ANNOTATION] += 1
        elif not (start.isdecimal() and end.isdecimal() and len(start + end) < 20):
            yield Claim(where, None, problem="tag without integer start and end")
        else:
            named = next((tag.get(key) for key in TYPE_KEYS if tag.get(key)), tag.tag)
            mention = Mention(
                tag.get("id") or f"T{number}",
                report.normalize_label(named),
                ((int(start), int(end)),),
            )
            text = tag.get("text")
            yield Claim(where, mention, () if text is None else (text,))


def _shifted(claim: Claim, by: int) -> Claim:
    if claim.mention is None:
        return claim
    mention = claim.mention
    fragments = tuple((start + by, end + by) for start, end in mention.fragments)
    return claim._replace(mention=Mention(mention.id, mention.type, fragments))
