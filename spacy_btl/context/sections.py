"""The pipe `btl_sections`: headings are no entities, and each entity stands under one."""

import bisect
from collections.abc import Sequence

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.context.headings import headings, title_of_tokens

SECTIONS = "btl_sections"
HEADINGS = "headings"  # the group of `doc.spans`


@Language.factory(
    "btl_sections",
    assigns=["doc.spans", "span._.section"],
    default_config={"spans_keys": []},
)
def make_btl_sections(nlp: Language, name: str, spans_keys: list[str]) -> "BtlSections":
    """Make a `btl_sections`. See `BtlSections`."""
    return BtlSections(name, spans_keys=spans_keys)


class BtlSections:
    r"""Marks the headings of a note as `doc.spans["headings"]`, and takes entities out of them.

    `span._.section` is the heading above a span, in lower case. Headings are told by their form,
    see `context.headings.headings`, and nothing is learned.

    spans_keys (List[str]): The groups of `doc.spans` that mentions are taken out of, beside
        `doc.ents`.

    >>> _ = nlp.add_pipe("btl_sections")
    >>> doc = nlp("History\nsevere fever today")
    >>> [(ent.text, ent._.section) for ent in doc.ents]
    [('severe', 'history'), ('fever', 'history')]
    """

    def __init__(self, name: str = SECTIONS, *, spans_keys: Sequence[str] = ()) -> None:
        self.name = name
        self.spans_keys = tuple(spans_keys)
        if not Span.has_extension("section"):
            Span.set_extension("section", getter=section)

    def __call__(self, doc: Doc) -> Doc:
        """Mark the headings of a doc, in place of earlier ones."""
        found = [
            doc.char_span(start, end, alignment_mode="expand") for start, end in headings(doc.text)
        ]
        doc.spans[HEADINGS] = [span for span in found if span is not None]
        inside = {token.i for span in doc.spans[HEADINGS] for token in span}
        if inside:
            dropped = [ent for ent in doc.ents if not inside.isdisjoint(range(ent.start, ent.end))]
            doc.set_ents([], outside=dropped, default="unmodified")
            for key in self.spans_keys:
                doc.spans[key] = [
                    span
                    for span in doc.spans.get(key, ())
                    if inside.isdisjoint(range(span.start, span.end))
                ]
        return doc


def section(span: Span) -> str | None:
    """The heading above a span, in lower case; None above the first one, or without `btl_sections`.

    >>> from spacy_btl import section
    >>> section(doc.ents[0]) is None
    True
    """
    above = list(span.doc.spans.get(HEADINGS, ()))
    place = bisect.bisect_right([heading.start for heading in above], span.start)
    return title_of_tokens(above[place - 1].text) if place else None


def find_sections(nlp: Language) -> list[BtlSections]:
    """The pipes of a pipeline that mark headings."""
    return [pipe for _, pipe in nlp.pipeline if isinstance(pipe, BtlSections)]
