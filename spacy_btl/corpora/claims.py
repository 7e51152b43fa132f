"""Check the mentions that a source claims against the text of the note."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from spacy_btl.corpora.note import Mention, Note, Skipped
from spacy_btl.corpora.offsets import OffsetUnit, offset_units, same_length_and_alike, same_words
from spacy_btl.corpora.report import ConversionReport

OTHER_TEXT = "mention text differs from the text at its offsets"


class Claim(NamedTuple):
    """One mention as the source has it, not checked yet.

    where (str): Its place, for errors.
    mention (Optional[Mention]): With the offsets of the source; None if they cannot be read.
    texts (Tuple[str, ...]): The mention's text as the source gives it, in each way to read it.
        Empty if the source gives none.
    problem (Optional[str]): Why it cannot be read.
    answer (str): The annotator's answer: "accept", "reject" or "ignore". "unasked" marks text
        that the annotator could not select: it is no mention.
    """

    where: str
    mention: Mention | None
    texts: tuple[str, ...] = ()
    problem: str | None = None
    answer: str = "accept"


class _Checked(NamedTuple):
    """What is wrong with a claim, and its mention in characters if the offsets can be read."""

    flaw: str | None
    mention: Mention | None


def note_from_claims(
    note: Note, claims: Sequence[Claim], report: ConversionReport, *, before: str = ""
) -> Note | None:
    """Return a note with those of its claimed mentions that are gold.

    Offsets are read in the unit in which the most mentions agree with their own texts. The place
    of an invalid or ignored mention is missing annotation. If that place is unknown, the whole
    note is left out. A rejected mention is no entity.

    note (Note): Without mentions.
    before (str): What stands before the text in its file.
    RETURNS (Optional[Note]): None if the note is left out.
    RAISES: CorpusError, for an invalid mention that the report does not skip.
    """
    unit, checked = _check_all(note.text, claims, before, trust=report.trust_offsets)
    unplaced = [claim.flaw for claim in checked if claim.flaw and not claim.mention]
    if unplaced and report.skip_invalid:
        report.notes_skipped[unplaced[0]] += 1
        return None
    mentions, skipped, missing = [], [], list[tuple[int, int]]()
    for claim, (flaw, mention) in zip(claims, checked, strict=True):
        label = claim.mention.type if claim.mention else ""
        if flaw:
            report.require_skip(flaw, claim.where)
            skipped.append(Skipped(label, flaw))
        elif claim.answer in ("reject", "ignore"):
            skipped.append(Skipped(label, f"answer of the span: {claim.answer}", invalid=False))
        elif mention and claim.answer == "accept":
            mentions.append(mention)
            if not _agrees(mention, note.text, claim.texts):
                report.remarks["mentions whose text differs in some characters"] += 1
        if mention and (flaw or claim.answer != "accept"):
            missing += mention.fragments
        if flaw == OTHER_TEXT:
            missing += _occurrences(claim.texts, note.text)
    if unit.name:
        report.remarks[f"notes whose offsets count {unit.name}"] += 1
    return replace(note, mentions=tuple(mentions), missing=tuple(missing), skipped=tuple(skipped))


def count_flaws(text: str, claims: Sequence[Claim], *, before: str = "") -> int:
    """Count the claims that do not hold in a text, in the unit in which the fewest do not."""
    _, checked = _check_all(text, claims, before, trust=False)
    return sum(bool(claim.flaw) for claim in checked)


def _check_all(
    text: str, claims: Sequence[Claim], before: str, *, trust: bool
) -> tuple[OffsetUnit, list[_Checked]]:
    """Check the claims in the first of the units with the fewest flaws.

    Without a mention that gives its own text, offsets count characters.
    """
    best: tuple[OffsetUnit, list[_Checked]] | None = None
    fewest = len(claims) + 1
    for unit in offset_units(text, before):
        checked = [_check(claim, unit, text, trust) for claim in claims]
        flaws = sum(bool(claim.flaw) for claim in checked)
        if flaws < fewest:
            best, fewest = (unit, checked), flaws
        if not flaws or not any(claim.texts for claim in claims):
            break
    assert best is not None
    return best


def _check(claim: Claim, unit: OffsetUnit, text: str, trust: bool) -> _Checked:
    if claim.answer == "reject":
        return _Checked(None, None)
    if claim.mention is None:
        return _Checked(claim.problem, None)
    if any(start >= end for start, end in claim.mention.fragments):
        return _Checked("mention with start >= end", None)
    fragments = unit.to_characters(claim.mention.fragments)
    if fragments is None:
        return _Checked("mention offsets outside the text", None)
    mention = replace(claim.mention, fragments=fragments)
    return _Checked(claim.problem or _problem(mention, text, claim.texts, trust), mention)


def _problem(mention: Mention, text: str, claimed: Sequence[str], trust: bool) -> str | None:
    """Return why a mention is invalid in this text, or None."""
    actual = _text_of(mention, text)
    trusted = trust and any(same_length_and_alike(actual, other) for other in claimed)
    if not trusted and not _agrees(mention, text, claimed):
        return OTHER_TEXT
    if not actual.strip():
        return "mention of white space only"
    if mention.type == "O":
        return "mention of type O, which means no entity"
    return None


def _agrees(mention: Mention, text: str, claimed: Sequence[str]) -> bool:
    """Whether the mention has one of the claimed texts, or none is claimed."""
    actual = _text_of(mention, text)
    if not claimed or any(same_words(actual, other) for other in claimed):
        return True
    # Old versions of brat joined the pieces of a discontinuous mention without a space.
    joined = ["".join(one.split()) for one in (actual, *claimed)]
    return len(mention.fragments) > 1 and joined[0] in joined[1:]


def _text_of(mention: Mention, text: str) -> str:
    return " ".join(text[start:end] for start, end in mention.fragments)


def _occurrences(claimed: Sequence[str], text: str) -> Iterator[tuple[int, int]]:
    """Where the text holds the claimed texts: the mention may be at any of these places."""
    for other in set(claimed):
        words = r"\s+".join(re.escape(word) for word in other.split())
        if words and len(other) <= len(text):
            for match in re.finditer(rf"(?<!\w){words}(?!\w)", text):
                yield match.span()
