"""Counts of a corpus, type by type."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import spacy
from spacy.tokens import Doc

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.parts import written_parts
from spacy_btl.errors import CorpusError
from spacy_btl.expressible import Expressible, fragments_of, lost_with_spans_key
from spacy_btl.lines import FULL_LINE, LINE_END, read_lines
from spacy_btl.mentions import MENTIONS

OUTSIDE = "O"
MIN_DOCUMENTS = 3  # one for each of train, dev and test


@dataclass(frozen=True)
class TypeStats:
    """The counts of one entity type, or of `O`.

    mentions (int): In `doc.ents`; 0 for `O`.
    annotated (int): In `doc.spans["mentions"]`, overlapping or not; in a doc without such a group
        those of `doc.ents`.
    documents (int): Those with a mention of the type; for `O` with a token.
    tokens (int): N_c, not counting white space.
    share (float): N_c / N, where N counts all tokens with annotation.
    weight (float): The paper's class weight, 1 - N_c / N.
    """

    type: str
    mentions: int
    annotated: int
    documents: int
    tokens: int
    share: float
    weight: float


@dataclass(frozen=True)
class Listed:
    """The mentions in `doc.spans["mentions"]`, overlapping or not.

    expressible (Expressible): How many of them a pipeline can express.
    left_out (int): Those that are not in `doc.ents`, which cannot overlap.
    lost (Dict[str, int]): Those that `spans_key` cannot express either, by reason.
    discontinuous (int): Those of several fragments: each counts as its enclosing span.
    white_space (int): Spans of white space alone, which are no mentions.
    """

    expressible: Expressible
    left_out: int
    lost: dict[str, int]
    discontinuous: int
    white_space: int


@dataclass(frozen=True)
class CorpusStats:
    """The counts of a corpus. White space is never counted.

    tokens (int): N, the tokens with annotation.
    tokens_missing (int): The tokens without annotation.
    over_line_ends (int): Mentions that continue on the next line.
    cut_by_io (int): Those that the tag scheme IO cannot represent, since it ends an entity there:
        at an empty line, and behind a line that is not full (see `lines.read_lines`).
    listed (Optional[Listed]): Those in `doc.spans["mentions"]`. None if no doc has the group.
    is_part (bool): Whether a split wrote the file.
    types (List[TypeStats]): By their number of annotated mentions, the rarest first.
    outside (TypeStats): The counts of `O`.
    """

    documents: int
    tokens: int
    tokens_missing: int
    mentions: int
    over_line_ends: int
    cut_by_io: int
    listed: Listed | None
    is_part: bool
    types: list[TypeStats]
    outside: TypeStats

    @property
    def too_rare(self) -> list[str]:
        """The types that are in too few documents to be in each of train, dev and test.

        Empty for a part of a split.
        """
        if self.is_part:
            return []
        return [stats.type for stats in self.types if stats.documents < MIN_DOCUMENTS]


def corpus_stats(corpus: Path) -> CorpusStats:
    """Count the mentions, documents and tokens of every entity type of a `.spacy` file.

    RAISES: CorpusError, for a file that cannot be read, or without an annotated token.
    """
    docs = read_docs(corpus, spacy.blank("xx").vocab)  # whose attributes tell white space
    tokens = Counter(label for doc in docs for label in _token_types(doc))
    mentions = Counter(ent.label_ for doc in docs for ent in doc.ents)
    of_docs = [_annotated(doc) for doc in docs]
    annotated = sum(of_docs, Counter[str]())
    documents = Counter(
        label
        for doc, labels in zip(docs, of_docs, strict=True)
        for label in {*labels, *_token_types(doc)}
    )
    total = tokens.total()
    if not total:
        raise CorpusError(f"{corpus}: no token has entity annotation: there is nothing to count.")

    def stats(label: str) -> TypeStats:
        share = tokens[label] / total
        counts = (mentions[label], annotated[label], documents[label], tokens[label])
        return TypeStats(label, *counts, share, 1 - share)

    return CorpusStats(
        documents=len(docs),
        tokens=total,
        tokens_missing=sum(not token.is_space for doc in docs for token in doc) - total,
        mentions=mentions.total(),
        over_line_ends=sum(
            LINE_END.search(ent.text) is not None for doc in docs for ent in doc.ents
        ),
        cut_by_io=sum(map(_count_cut, docs)),
        listed=_listed([doc for doc in docs if MENTIONS in doc.spans]),
        is_part=corpus.resolve() in written_parts(corpus.resolve().parent),
        types=[
            stats(label)
            for label in sorted({*annotated, *mentions}, key=lambda key: (annotated[key], key))
        ],
        outside=stats(OUTSIDE),
    )


def _token_types(doc: Doc) -> list[str]:
    """The types of the tokens with annotation, without white space."""
    words = (token for token in doc if token.ent_iob and not token.is_space)
    return [token.ent_type_ or OUTSIDE for token in words]


def _annotated(doc: Doc) -> Counter[str]:
    """The types of the mentions of a doc, overlapping or not."""
    if MENTIONS not in doc.spans:
        return Counter(ent.label_ for ent in doc.ents)
    return Counter(fragments[0].label_ for fragments in fragments_of(doc) if fragments)


def _count_cut(doc: Doc) -> int:
    words, breaks, _ = read_lines(doc)
    begins = words[breaks > FULL_LINE]
    return sum(bool(((ent.start < begins) & (begins < ent.end)).any()) for ent in doc.ents)


def _listed(docs: Sequence[Doc]) -> Listed | None:
    if not docs:
        return None
    mentions, left_out, lost = 0, 0, Counter[str]()
    discontinuous = white_space = 0
    for doc in docs:
        groups = fragments_of(doc)
        fragments = [group for group in groups if group]
        mentions += len(fragments)
        left_out += max(0, len(fragments) - len(doc.ents))
        lost.update(lost_with_spans_key(fragments).values())
        discontinuous += sum(len(one) > 1 for one in fragments)
        white_space += len(groups) - len(fragments)
    expressible = Expressible(mentions, mentions - left_out, mentions - lost.total())
    return Listed(expressible, left_out, dict(sorted(lost.items())), discontinuous, white_space)
