"""The documents of a run: converted and divided, with what will not work said early."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from spacy.tokens import Doc
from spacy.util import get_lang_class
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.groups import group_numbers
from spacy_btl.corpora.parts import PARTS
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import CorpusError, listed
from spacy_btl.fit.choices import GIVEN, Choice, Options, choose_min_mentions
from spacy_btl.formats.convert import convert
from spacy_btl.mentions import MENTIONS
from spacy_btl.splits.split import split_corpus

FEW_DOCUMENTS = 20
LANGUAGES = {
    "en": "English", "cs": "Czech", "da": "Danish", "de": "German", "es": "Spanish",
    "fi": "Finnish", "fr": "French", "it": "Italian", "nb": "Norwegian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "sv": "Swedish",
}  # fmt: skip
WORD = re.compile(r"[^\W\d_]+")
# Telegraphic notes have few stop words: another language than English needs a clear lead.
LEAST_STOP_WORDS = 0.1
CLEAR = 1.5


def convert_notes(
    notes: Path, corpus: Path, options: Options
) -> tuple[ConversionReport, dict[str, Choice]]:
    """Convert notes, and choose their language and the types to keep.

    The notes are read once to choose by, and again where that changes how they are converted.

    RAISES: CorpusError, for notes that cannot be read, or that have too few mentions to learn from.
    """
    settings: dict[str, Any] = {
        "lang": options.lang or "en",
        "min_mentions": options.min_mentions or 1,
        "skip_invalid": options.skip_invalid,
        "trust_offsets": options.trust_offsets,
        "patients": options.patients,
        "annotator": options.annotator,
        "layers": options.layers,
    }
    report = convert(notes, corpus, **settings)
    if not report.total("kept"):
        raise CorpusError(
            f"{notes}: none of its {report.notes_written:,} notes has a mention. There is nothing "
            "to train on."
        )
    docs = read_docs(corpus, Vocab())
    lang = Choice(options.lang, GIVEN)
    if options.lang is None:
        lang = Choice(*guess_language(doc.text for doc in docs))
    counts = [type_.kept + type_.overlapped for type_ in report.types.values()]
    least = choose_min_mentions(options.min_mentions, [count for count in counts if count])
    chosen = {"lang": lang.value, "min_mentions": least.value}
    if chosen.items() - settings.items():
        report = convert(notes, corpus, **{**settings, **chosen})
        docs = read_docs(corpus, Vocab())
    _require_parts(docs, notes)
    return report, {"lang": lang, "min-mentions": least}


def _require_parts(docs: Sequence[Doc], notes: Path) -> None:
    """RAISES: CorpusError, if the parts cannot each have a mention."""
    with_mentions = [bool(doc.ents) for doc in docs]
    groups = {
        group for group, has in zip(group_numbers(docs).tolist(), with_mentions, strict=True) if has
    }
    if len(groups) < len(PARTS):
        raise CorpusError(
            f"{notes}: {sum(with_mentions)} of {len(docs):,} notes have a mention, of "
            f"{len(groups)} patients or texts. At least {len(PARTS)} are needed: one to train on, "
            "one to calibrate with, and one to measure on."
        )


def guess_language(texts: Iterable[str]) -> tuple[str, str]:
    """Guess a language, among those that are written in Latin letters with blanks.

    RETURNS (Tuple[str, str]): Its code, and the reason. English where too little is known.
    """
    words = [word for text in texts for word in WORD.findall(text.lower()) if len(word) > 1]
    shares = {code: _share(words, code) for code in LANGUAGES}
    best = max(LANGUAGES, key=shares.__getitem__)  # the first of equals
    if shares[best] < max(LEAST_STOP_WORDS, CLEAR * shares["en"]):
        best = "en"
    reason = f"{shares[best]:.0%} of the words are stop words of {LANGUAGES[best]}"
    few = shares[best] < LEAST_STOP_WORDS
    return best, f"only {reason}: give --lang if it is another" if few else reason


def _share(words: list[str], code: str) -> float:
    stop_words = get_lang_class(code).Defaults.stop_words
    return sum(word in stop_words for word in words) / max(len(words), 1)


def divide_notes(corpus: Path, folder: Path, seed: int) -> dict[str, Any]:
    """Divide the documents, and count them.

    RETURNS (Dict[str, Any]): By part: `documents`, `words`, and the mentions of each type, those of
        `doc.ents` as `flat` and those that overlap, too, as `all`. Plain JSON.
    RAISES: CorpusError, for documents that cannot be divided.
    """
    (parts,) = split_corpus(corpus, folder, seed=seed)
    counts = {name: _counts(docs) for name, docs in parts.items()}
    empty = [name for name in PARTS if not counts[name]["flat"]]
    if empty:
        raise CorpusError(
            f"{corpus}: no note of the part '{empty[0]}' has a mention. Give another --seed, or "
            "more notes."
        )
    return counts


def _counts(docs: Sequence[Doc]) -> dict[str, Any]:
    flat = Counter(ent.label_ for doc in docs for ent in doc.ents)
    every: Counter[str] = Counter()
    for doc in docs:
        if MENTIONS in doc.spans:
            every.update({span.id_: span.label_ for span in doc.spans[MENTIONS]}.values())
        else:
            every.update(ent.label_ for ent in doc.ents)
    return {
        "documents": len(docs),
        "words": sum(map(len, docs)),
        "flat": dict(sorted(flat.items())),
        "all": dict(sorted(every.items())),
    }


class Part(NamedTuple):
    """The counts of a part of the documents. types (Dict[str, int]): The mentions of each type."""

    documents: int
    words: int
    types: dict[str, int]

    @property
    def mentions(self) -> int:
        """Of all types."""
        return sum(self.types.values())


def parts_of(counts: dict[str, Any], *, overlapping: bool) -> dict[str, Part]:
    """The parts, with the mentions that are learned.

    counts (Dict[str, Any]): What `divide_notes` returned.
    """
    kind = "all" if overlapping else "flat"
    return {
        name: Part(counts[name]["documents"], counts[name]["words"], counts[name][kind])
        for name in PARTS
    }


def cautions(parts: Mapping[str, Part]) -> list[str]:
    """What the division shows that will not work."""
    found = []
    documents = sum(part.documents for part in parts.values())
    if documents < FEW_DOCUMENTS:
        found.append(
            f"{documents} documents are too few to learn much from or to measure it: the intervals "
            "will be wide. Take the result as a trial, and annotate more."
        )
    types = {label for part in parts.values() for label in part.types}
    for name, problem in (
        ("train", "cannot be learned"),
        ("dev", "have no mention to calibrate their confidence by"),
        ("test", "cannot be measured"),
    ):
        missing = sorted(types - parts[name].types.keys())
        if missing:
            found.append(
                f"Types that {problem}, since no {name} document has them: {listed(missing)}"
            )
    return found
