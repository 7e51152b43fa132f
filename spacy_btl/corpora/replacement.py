"""Mention replacement: show a mention's context with other mentions of the same type in it.

Dai and Adel 2020 ("An Analysis of Simple Data Augmentation for Named Entity Recognition",
arXiv 2010.11683, section 3) found it the most useful of the simple augmentations on small sets.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from spacy import registry
from spacy.language import Language
from spacy.tokens import Doc, Span, Token
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_btl.corpora.augmenters import Augmenter
from spacy_btl.corpora.docbin import read_docs

# The words of a mention, and whether a space follows each.
Mention = tuple[list[str], list[bool]]


@registry.augmenters("spacy_btl.MentionReplacement.v1")
def mention_replacement(path: Path, share: float = 0.3) -> Augmenter:
    """Swap a share of a doc's mentions, anew in each epoch, for mentions of the same type.

    path (Path): The `.spacy` file that the mentions come from: the training documents.
    share (float): The probability of each mention to be swapped.
    """
    mentions: dict[str, list[Mention]] = {}

    def augment(nlp: Language, example: Example) -> Iterator[Example]:
        if not mentions:
            mentions.update(collect_mentions(read_docs(Path(path), Vocab())))
        doc = replace_mentions(example.reference, mentions, share)
        yield Example(nlp.make_doc(doc.text), doc)

    return augment


def collect_mentions(docs: Iterable[Doc]) -> dict[str, list[Mention]]:
    """The mentions of each entity type, as often as they occur."""
    mentions: defaultdict[str, list[Mention]] = defaultdict(list)
    for doc in docs:
        for ent in doc.ents:
            mentions[ent.label_].append(
                ([token.text for token in ent], [bool(token.whitespace_) for token in ent])
            )
    return dict(mentions)


def replace_mentions(doc: Doc, mentions: Mapping[str, Sequence[Mention]], share: float) -> Doc:
    """A copy of a doc with about `share` of its mentions swapped, drawn from Python's generator.

    Entities and missing annotation stay; other annotation is left behind.
    """
    words: list[str] = []
    spaces: list[bool] = []
    tags: list[str | None] = []

    def keep(span: Span) -> None:
        words.extend(token.text for token in span)
        spaces.extend(bool(token.whitespace_) for token in span)
        tags.extend(_iob(token) for token in span)

    end = 0
    for ent in doc.ents:
        pool = mentions.get(ent.label_)
        if not pool or random.random() >= share:
            continue
        keep(doc[end : ent.start])
        new_words, new_spaces = random.choice(pool)
        words.extend(new_words)
        spaces.extend([*new_spaces[:-1], bool(ent[-1].whitespace_)])
        tags.extend([f"B-{ent.label_}", *[f"I-{ent.label_}"] * (len(new_words) - 1)])
        end = ent.end
    keep(doc[end:])
    return Doc(doc.vocab, words=words, spaces=spaces, ents=tags)


def _iob(token: Token) -> str | None:
    if not token.ent_iob_:
        return None  # missing
    return f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type_ else "O"
