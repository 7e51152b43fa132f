"""Write UIMA CAS, INCEpTION's own format, by dkpro-cassis."""

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from spacy_btl.about import how_to_install
from spacy_btl.errors import CorpusError
from spacy_btl.inception.layers import NAMED_ENTITY

SEGMENTATION = "de.tudarmstadt.ukp.dkpro.core.api.segmentation.type"
CUSTOM = "webanno.custom"  # where INCEpTION keeps a project's own layers
LAYER = re.compile(r"([a-zA-Z]\w*(?:\.[a-zA-Z]\w*)*):([a-zA-Z]\w*)", re.ASCII)
# What XML 1.0 can hold.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

STRING = "uima.cas.String"

Places = Iterable[tuple[int, int]]


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
def type_system(layer: str) -> Any:
    """The types of DKPro Core, which INCEpTION has built in, and of the layer if it is none of
    them. layer (str): `LAYER:FEATURE`."""
    import cassis

    name, feature = layer_named(layer)
    types = cassis.load_dkpro_core_typesystem()
    kind = types.get_type(name) if types.contains_type(name) else types.create_type(name)
    found = kind.get_feature(feature)
    if found is None:
        types.create_feature(kind, feature, STRING)
    elif found.rangeType.name != STRING:
        raise CorpusError(f"--layer {layer}: the feature {feature} of this layer holds no text.")
    return types


def make_cas(
    text: str,
    tokens: Places,
    sentences: Places,
    mentions: Iterable[tuple[int, int, str]],
    layer: str,
) -> Any:
    """Make a CAS of a note.

    tokens, sentences (Iterable[Tuple[int, int]]): Characters, end exclusive. No token or sentence
        begins or ends with white space, and each token is in one sentence: INCEpTION opens no
        other document.
    mentions (Iterable[Tuple[int, int, str]]): Characters and type. They may overlap.
    layer (str): `LAYER:FEATURE`.
    RETURNS (cassis.Cas): `to_xmi` and `to_json` write its offsets in UTF-16 units.
    """
    import cassis

    types = type_system(layer)
    name, feature = layer_named(layer)
    cas = cassis.Cas(typesystem=types)
    cas.sofa_string, cas.sofa_mime = text, "text/plain"
    for kind, places in (("Sentence", sentences), ("Token", tokens)):
        make = types.get_type(f"{SEGMENTATION}.{kind}")
        cas.add_all([make(begin=start, end=end) for start, end in places])
    make = types.get_type(name)
    cas.add_all([make(begin=start, end=end, **{feature: label}) for start, end, label in mentions])
    return cas
