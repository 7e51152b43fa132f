"""The pipe `btl_context`: negspacy's algorithm, with terms for each assertion."""

from collections.abc import Iterator, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.context.assertions import (
    KINDS,
    forget_assertions,
    install_extensions,
    set_assertions,
)
from spacy_btl.context.terms import Terms, english_assertion_terms, no_negspacy
from spacy_btl.errors import PipelineError
from spacy_btl.lines import FULL_LINE, SAME_LINE, read_lines

CONTEXT = "btl_context"
COPIES = "btl_mentions"  # the group of the mentions in the copy of a doc
STOPS = {".", "!"}  # "?" stands before what is uncertain, too
# As negspacy calls them.
LISTS = {"pseudo_negations", "preceding_negations", "following_negations", "termination"}


@Language.factory(
    "btl_context",
    requires=["doc.ents"],
    assigns=[
        "span._.negated",
        "span._.uncertain",
        "span._.historical",
        "span._.hypothetical",
        "span._.experiencer",
    ],
    default_config={
        "terms": None,
        "types": None,
        "spans_keys": [],
    },
)
def make_btl_context(
    nlp: Language,
    name: str,
    terms: dict[str, Terms] | None,
    types: list[str] | None,
    spans_keys: list[str],
) -> "BtlContext":
    """Make a `btl_context`. See `BtlContext`.

    terms (Optional[Dict[str, Dict[str, List[str]]]]): None for those of `context.terms`, which are
        English.
    """
    terms = english_assertion_terms() if terms is None else terms
    return BtlContext(nlp, name, terms=terms, types=types, spans_keys=spans_keys)


class BtlContext:
    """Writes what the note says of each entity, and of each span of some groups.

    The algorithm is NegEx (Chapman et al. 2001, doi 10.1006/jbin.2001.1029) by negspacy, once for
    each assertion. It runs on a copy of the doc: the sentences that it needs, which end at line
    ends too, and negspacy's own extensions are not left on the doc. A line end within a paragraph
    that is wrapped ends no sentence.

    terms (Dict[str, Dict[str, List[str]]]): The terms of each assertion, by the keys of
        `context.assertions.KINDS`. An assertion without terms never holds.
    types (Optional[List[str]]): The types to which assertions apply; None for all.
    spans_keys (List[str]): The groups of `doc.spans`, beside `doc.ents`.
    RAISES: PipelineError, for terms of an unknown assertion or kind, or without negspacy.

    >>> _ = nlp.add_pipe("btl_context")
    >>> [(ent.text, ent._.negated) for ent in nlp("pain in the left arm , no fever").ents]
    [('pain', False), ('fever', True)]
    """

    def __init__(
        self,
        nlp: Language,
        name: str = CONTEXT,
        *,
        terms: dict[str, Terms],
        types: Sequence[str] | None = None,
        spans_keys: Sequence[str] = (),
    ) -> None:
        try:
            from negspacy.negation import Negex
        except ImportError:
            raise no_negspacy() from None
        for kind, lists in terms.items():
            if kind not in KINDS or set(lists) != LISTS:
                raise PipelineError(
                    f"'{name}' has terms of '{kind}' in the lists {', '.join(sorted(lists))}. The "
                    f"assertions are {', '.join(KINDS)}, and each needs the lists "
                    f"{', '.join(sorted(LISTS))}."
                )
        self.name = name
        self.types = None if types is None else set(types)
        self.spans_keys = tuple(spans_keys)
        self.engines: dict[str, Any] = {
            kind: Negex(nlp, name, lists, None, _extension(kind), None, [COPIES])
            for kind, lists in terms.items()
        }
        install_extensions()

    def __call__(self, doc: Doc) -> Doc:
        """Write the assertions of a doc, in place of earlier ones."""
        forget_assertions(doc)
        spans = list(self._mentions(doc))
        if spans:
            copy = _copy(doc, spans)
            for engine in self.engines.values():
                engine(copy)
            for span, copied in zip(spans, copy.spans[COPIES], strict=True):
                set_assertions(span, [k for k in self.engines if copied._.get(_extension(k))])
        return doc

    def _mentions(self, doc: Doc) -> Iterator[Span]:
        for spans in (doc.ents, *(doc.spans.get(key, ()) for key in self.spans_keys)):
            for span in spans:
                if self.types is None or span.label_ in self.types:
                    yield span


def find_contexts(nlp: Language) -> list[BtlContext]:
    """The pipes of a pipeline that write assertions."""
    return [pipe for _, pipe in nlp.pipeline if isinstance(pipe, BtlContext)]


def _extension(kind: str) -> str:
    """The extension that negspacy registers and writes, on spans of the copy only."""
    return f"btl_context_{kind}"


def _copy(doc: Doc, spans: Sequence[Span]) -> Doc:
    """The words of a doc, with sentences, and spans as the group `COPIES`."""
    words, spaces = [token.text for token in doc], [bool(token.whitespace_) for token in doc]
    copy = Doc(doc.vocab, words=words, spaces=spaces, sent_starts=_sentence_starts(doc))
    copy.spans[COPIES] = [Span(copy, span.start, span.end, label=span.label) for span in spans]
    return copy


def _sentence_starts(doc: Doc) -> list[bool | int | None]:
    lines = read_lines(doc)
    starts: list[bool | int | None] = [False] * len(doc)
    stopped, short_before = False, True
    for word, before, short in zip(*(column.tolist() for column in lines), strict=True):
        wrapped = before == FULL_LINE and not short_before
        starts[word] = stopped or not (before == SAME_LINE or wrapped)
        stopped, short_before = doc[word].text in STOPS, short
    return starts
