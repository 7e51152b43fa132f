"""The labels of a token classifier on the Hugging Face side, and our tags."""

from collections.abc import Mapping

from spacy_btl.errors import PipelineError
from spacy_btl.tags import SchemeName, TagScheme


def to_labels(scheme: TagScheme) -> list[str]:
    """The labels of our tags, in their order: with IO, a type's is `I-` and its name, so that what
    reads BIO reads it as well."""
    prefix = "I-" if scheme.scheme == "IO" else ""
    return ["O", *(prefix + tag for tag in scheme.tags[1:])]


def from_labels(id2label: Mapping[int, str]) -> tuple[TagScheme, list[int | None]]:
    """The tags that a classifier's labels stand for.

    id2label (Mapping[int, str]): As in its config: "O", and a type's name either plain, after `I-`,
        or after `B-` and `I-`.
    RETURNS (Tuple[TagScheme, List[Optional[int]]]): The scheme, types sorted, and for each of its
        tags the id of its label; None where the classifier has none (a type without `I-`).
    RAISES: PipelineError, for labels of another kind.
    """
    ids = {label: number for number, label in id2label.items()}
    if "O" not in ids or len(ids) < 2 or len(ids) < len(id2label):
        raise PipelineError(
            "The labels of the checkpoint are not those of entities: they must be different, "
            f"'O' among them, and are {', '.join(map(repr, id2label.values()))}."
        )
    entity_labels = [label for label in ids if label != "O"]
    prefixes = {label[:2] if label[1:2] == "-" else "" for label in entity_labels}
    if not prefixes <= {"B-", "I-"} and prefixes != {""}:
        raise PipelineError(
            "The labels of the checkpoint are in another scheme than IO and BIO: their prefixes "
            f"are {', '.join(sorted(map(repr, prefixes)))}."
        )
    name: SchemeName = "BIO" if "B-" in prefixes else "IO"
    types = sorted({label if prefixes == {""} else label[2:] for label in entity_labels})
    scheme = TagScheme(types, name)
    ours = scheme.tags if prefixes == {""} else to_labels(scheme)
    return scheme, [ids.get(label) for label in ours]
