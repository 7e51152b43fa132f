"""What a note says of a mention: that it is absent, uncertain, past, not real yet, or another's.

Gold annotation and the pipe `btl_context` write it to the same place, so a `.spacy` file keeps it
and every output reads it alike.
"""

import warnings
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, NamedTuple, cast

from spacy.tokens import Doc, Span

from spacy_btl.errors import BtlWarning

PATIENT, OTHER = "patient", "other"
# What may be said of a mention, each with its name in brat and Label Studio.
KINDS = {
    "negated": "Negated",
    "uncertain": "Uncertain",
    "historical": "Historical",
    "hypothetical": "Hypothetical",
    OTHER: "Family",
}
KIND_OF = {name.lower(): kind for kind, name in KINDS.items()}  # by the name in any case
STORED = "btl_assertions"


class Assertions(NamedTuple):
    """What a note says of a mention. The definitions are in docs/assertions.md.

    negated (bool): It is not there, was not given or not done.
    uncertain (bool): It may be there.
    historical (bool): It was over, or is told as past history.
    hypothetical (bool): It has not happened: feared, conditional, planned or recommended.
    experiencer (str): "patient", or "other" for another person.
    """

    negated: bool = False
    uncertain: bool = False
    historical: bool = False
    hypothetical: bool = False
    experiencer: str = PATIENT

    @classmethod
    def of(cls, kinds: Collection[str]) -> "Assertions":
        """The assertions of which these kinds, keys of `KINDS`, hold, and no others."""
        said = {kind: True for kind in kinds if kind != OTHER}
        return cls(**said, experiencer=OTHER if OTHER in kinds else PATIENT)

    @property
    def kinds(self) -> list[str]:
        """The keys of `KINDS` that hold."""
        found = [name for name, value in zip(self._fields, self, strict=True) if value is True]
        return [*found, OTHER] if self.experiencer == OTHER else found


def install_extensions() -> None:
    """Register `span._.negated`, `.uncertain`, `.historical`, `.hypothetical` (bool) and
    `.experiencer` (str), each None where nothing was said. Those of another package stay."""
    for name in Assertions._fields:
        if not Span.has_extension(name):
            Span.set_extension(name, getter=partial(_field, name=name))
        elif getattr(Span.get_extension(name)[2], "func", None) is not _field:
            warnings.warn(
                f"`ent._.{name}` is another package's, which registered it before. Read ours by "
                "`spacy_btl.assertions(ent)`.",
                BtlWarning,
                stacklevel=2,
            )


def assertions(span: Span) -> Assertions | None:
    """What the note says of an entity, or span; None where nothing was annotated or computed.

    >>> from spacy_btl import assertions
    >>> assertions(doc.ents[0]) is None
    True
    """
    kinds = _values(span.doc).get(_key(span))
    return None if kinds is None else Assertions.of(kinds)


def set_assertions(span: Span, kinds: Iterable[str]) -> None:
    """Write what holds of a span. kinds (Iterable[str]): Keys of `KINDS`."""
    _values(span.doc)[_key(span)] = list(kinds)


def forget_assertions(doc: Doc) -> None:
    """Delete the assertions of a doc."""
    values = _values(doc)
    for key in [key for key in values if _is_ours(key)]:
        del values[key]


def _field(span: Span, *, name: str) -> bool | str | None:
    found = assertions(span)
    return None if found is None else getattr(found, name)


def _values(doc: Doc) -> dict[Any, Any]:
    """The user data of a doc. spaCy's annotation says that keys are names; most are tuples."""
    return cast(dict[Any, Any], doc.user_data)


def _key(span: Span) -> tuple[str, str, int, int]:
    # Like a key of spaCy's span extensions: `as_doc` and `from_docs` then shift the offsets. With
    # the label, since mentions of several types may share their place.
    return ("._.", f"{STORED}:{span.label_}", span.start_char, span.end_char)


def _is_ours(key: Any) -> bool:
    return isinstance(key, tuple) and len(key) == 4 and key[1].startswith(f"{STORED}:")
