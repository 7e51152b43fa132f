"""Write UIMA CAS, INCEpTION's own format, by dkpro-cassis."""

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from spacy_btl.about import how_to_install
from spacy_btl.context.assertions import KINDS, Assertions
from spacy_btl.errors import CorpusError
from spacy_btl.inception.layers import NAMED_ENTITY

SEGMENTATION = "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type"
CUSTOM = "webanno.custom"  # where INCEpTION keeps a project's own layers
LAYER = re.compile(r"([a-zA-Z]\w*(?:\.[a-zA-Z]\w*)*):([a-zA-Z]\w*)", re.ASCII)
# What XML 1.0 can hold.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

STRING, BOOLEAN = "uima.cas.String", "uima.cas.Boolean"

Places = Iterable[tuple[int, int]]
Mention = tuple[int, int, str, Assertions | None]


def require_cassis() -> None:
    """RAISES: CorpusError, if dkpro-cassis is not installed."""
    if find_spec("cassis") is None:
        raise CorpusError(f"UIMA CAS needs dkpro-cassis: install it {how_to_install('inception')}.")


def layer_named(given: str) -> tuple[str, str]:
    """Return the names of a layer's type and of its feature.

    given (str): `LAYER:FEATURE`, as for `convert`. A name without a full stop is that of
        INCEpTION's `NamedEntity` or of a project's own layer.
    RAISES: CorpusError, for another form.
    """
    match = LAYER.fullmatch(given)
    if not match:
        raise CorpusError(f"--layer {given}: give LAYER:FEATURE, for example custom.Span:label.")
    layer, feature = match.groups()
    if layer == NAMED_ENTITY.rpartition(".")[2]:
        return NAMED_ENTITY, feature
    return (layer if "." in layer else f"{CUSTOM}.{layer}"), feature


def xmi_problem(text: str) -> str:
    """Why XMI cannot hold a text; empty if it can."""
    found = NOT_XML.search(text)
    return f"U+{ord(found[0]):04X} cannot be in XMI: write cas.json" if found else ""


@lru_cache(maxsize=1)
def type_system(layer: str, *, asserts: bool) -> Any:
    """The types of DKPro Core, which INCEpTION has built in, and of the layer if it is none of
    them.

    layer (str): `LAYER:FEATURE`.
    asserts (bool): Whether the layer has features for assertions too, true or false, by the names
        of `context.assertions.KINDS`.
    RAISES: CorpusError, if a feature of the layer is there and holds something else.
    """
    import cassis

    name, feature = layer_named(layer)
    types = cassis.load_dkpro_core_typesystem()
    kind = types.get_type(name) if types.contains_type(name) else types.create_type(name)
    _add_feature(types, kind, feature, STRING, f"--layer {layer}")
    for assertion in KINDS.values() if asserts else ():
        _add_feature(types, kind, assertion, BOOLEAN, f"--assertion-features, --layer {layer}")
    return types


def _add_feature(types: Any, kind: Any, name: str, holds: str, given: str) -> None:
    found = kind.get_feature(name)
    if found is None:
        types.create_feature(kind, name, holds)
    elif found.rangeType.name != holds:
        wanted = "text" if holds == STRING else "true or false"
        raise CorpusError(
            f"{given}: the feature {name} of this layer does not hold {wanted}. Give another layer "
            "or feature."
        )


def make_cas(
    text: str,
    tokens: Places,
    sentences: Places,
    mentions: Iterable[Mention],
    layer: str,
    *,
    asserts: bool,
) -> Any:
    """Make a CAS of a note.

    tokens, sentences (Iterable[Tuple[int, int]]): Characters, end exclusive. No token or sentence
        begins or ends with white space, and each token is in one sentence: INCEpTION opens no
        other document.
    mentions (Iterable[Tuple[int, int, str, Optional[Assertions]]]): Characters, type, and what the
        note says of it; None where that is not known. They may overlap.
    layer, asserts: See `type_system`.
    RETURNS (cassis.Cas): `to_xmi` and `to_json` write its offsets in UTF-16 units.
    """
    import cassis

    types = type_system(layer, asserts=asserts)
    name, feature = layer_named(layer)
    cas = cassis.Cas(typesystem=types)
    cas.sofa_string, cas.sofa_mime = text, "text/plain"
    for kind, places in (("Sentence", sentences), ("Token", tokens)):
        make = types.get_type(f"{SEGMENTATION}.{kind}")
        cas.add_all([make(begin=start, end=end) for start, end in places])
    make = types.get_type(name)
    for start, end, label, said in mentions:
        values = {feature: label, **(_features(said) if asserts else {})}
        cas.add(make(begin=start, end=end, **values))
    return cas


def _features(said: Assertions | None) -> dict[str, bool]:
    """The features of a mention that was judged, each true or false."""
    return {} if said is None else {name: kind in said.kinds for kind, name in KINDS.items()}
