"""What a source says of the mentions of a note, held against the note's text: gold, or not."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from spacy_btl.corpora.note import Account, Mention, Note, Skipped
from spacy_btl.corpora.offsets import Reading, alike, readings, same_words

UNLIKE = "mention text unlike the offsets"


class Claim(NamedTuple):
    """One mention as its source has it.

    where (str): Its place, for an error.
    mention (Optional[Mention]): With the offsets of the source; None if they cannot be told.
    texts (Tuple[str, ...]): The text that the source says it has, as it may be read; or none.
    problem (Optional[str]): Why it cannot be read.
    answer (str): What the annotator said of it: "accept", "reject" or "ignore"; or "unasked", for
        a stretch of text that the annotator could not mark, which is no mention.
    """

    where: str
    mention: Mention | None
    texts: tuple[str, ...] = ()
    problem: str | None = None
    answer: str = "accept"


class _Verdict(NamedTuple):
    """A claim's flaw, and its mention in characters of the text where its place is known."""

    flaw: str | None
    mention: Mention | None


def claimed_note(
    note: Note, claims: Sequence[Claim], account: Account, *, before: str = ""
) -> Note | None:
    """A note with those of its claimed mentions that are gold.

    Offsets are read as what makes the most mentions agree with the texts that they are said to
    have. The place of a mention that is invalid or was ignored is missing annotation; where its
    place is not known, the note is left out. A rejected mention is no entity.

    note (Note): Without mentions.
    before (str): What stands before the text in its file.
    RETURNS (Optional[Note]): None, if the note is left out.
    RAISES: CorpusError, for an invalid mention that the account does not skip.
    """
    reading, verdicts = _read(note.text, claims, before, trust=account.trust_offsets)
    lost = [verdict.flaw for verdict in verdicts if verdict.flaw and not verdict.mention]
    if lost and account.skip_invalid:
        account.notes_skipped[lost[0]] += 1
        return None
    mentions, skipped, missing = [], [], list[tuple[int, int]]()
    for claim, (flaw, mention) in zip(claims, verdicts, strict=True):
        label = claim.mention.type if claim.mention else ""
        if flaw:
            account.refuse(flaw, claim.where)
            skipped.append(Skipped(label, flaw))
        elif claim.answer in ("reject", "ignore"):
            skipped.append(Skipped(label, f"answer of the span: {claim.answer}", invalid=False))
        elif mention and claim.answer == "accept":
            mentions.append(mention)
            if not _agrees(mention, note.text, claim.texts):
                account.remarks["mentions with other characters than the text has there"] += 1
        if mention and (flaw or claim.answer != "accept"):
            missing += mention.fragments
        if flaw == UNLIKE:
            missing += _places_of(claim.texts, note.text)
    if reading.name:
        account.remarks[f"notes whose offsets count {reading.name}"] += 1
    return replace(note, mentions=tuple(mentions), missing=tuple(missing), skipped=tuple(skipped))


def _read(
    text: str, claims: Sequence[Claim], before: str, *, trust: bool
) -> tuple[Reading, list[_Verdict]]:
    """The first of the readings with the fewest flaws. Only a mention's own text can speak for
    another than the usual one."""
    best: tuple[Reading, list[_Verdict]] | None = None
    fewest = len(claims) + 1
    for reading in readings(text, before):
        verdicts = [_judge(claim, reading, text, trust) for claim in claims]
        flaws = sum(bool(verdict.flaw) for verdict in verdicts)
        if flaws < fewest:
            best, fewest = (reading, verdicts), flaws
        if not flaws or not any(claim.texts for claim in claims):
            break
    assert best is not None
    return best


def _judge(claim: Claim, reading: Reading, text: str, trust: bool) -> _Verdict:
    if claim.answer == "reject":
        return _Verdict(None, None)
    if claim.mention is None:
        return _Verdict(claim.problem, None)
    if any(start >= end for start, end in claim.mention.fragments):
        return _Verdict("mention with start >= end", None)
    fragments = reading.characters(claim.mention.fragments)
    if fragments is None:
        return _Verdict("mention offsets outside the text", None)
    mention = replace(claim.mention, fragments=fragments)
    return _Verdict(claim.problem or _problem(mention, text, claim.texts, trust), mention)


def _problem(mention: Mention, text: str, texts: Sequence[str], trust: bool) -> str | None:
    """Why a mention cannot be one of this text, or None."""
    found = _text_of(mention, text)
    trusted = trust and any(alike(found, said) for said in texts)
    if not trusted and not _agrees(mention, text, texts):
        return UNLIKE
    if not found.strip():
        return "mention of white space only"
    if mention.type == "O":
        return "mention of type O, which means no entity"
    return None


def _agrees(mention: Mention, text: str, texts: Sequence[str]) -> bool:
    """Whether the mention has one of the texts that it is said to have, if any."""
    found = _text_of(mention, text)
    if not texts or any(same_words(found, said) for said in texts):
        return True
    # brat once joined the pieces of a discontinuous mention without a blank.
    joined = ["".join(one.split()) for one in (found, *texts)]
    return len(mention.fragments) > 1 and joined[0] in joined[1:]


def _text_of(mention: Mention, text: str) -> str:
    return " ".join(text[start:end] for start, end in mention.fragments)


def _places_of(texts: Sequence[str], text: str) -> Iterator[tuple[int, int]]:
    """Where a mention may stand that does not stand at its offsets."""
    for said in set(texts):
        words = r"\s+".join(re.escape(word) for word in said.split())
        if words and len(said) <= len(text):
            for match in re.finditer(rf"(?<!\w){words}(?!\w)", text):
                yield match.span()
