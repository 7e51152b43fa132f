"""What a labelling configuration of Label Studio says of mentions: which text, which labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

from spacy_btl.corpora.source import safe_xml
from spacy_btl.errors import CorpusError, ServeError
from spacy_btl.serve.labels import Known, known_as

WHERE = "The labelling configuration"


@dataclass(frozen=True)
class LabelConfig:
    """A plain text, and the `<Labels>` tags over it.

    text (str): The name of the `<Text>` tag.
    key (str): Its key in the data of a task.
    controls (Dict[str, Known]): The labels of each `<Labels>` tag, by its name.
    """

    text: str
    key: str
    controls: dict[str, Known]


def read_label_config(config: str) -> LabelConfig:
    """Read the first text that has labels.

    RAISES: ServeError, if there is none.
    """
    try:
        root = ElementTree.fromstring(safe_xml(config.encode("utf-8"), WHERE))
    except ElementTree.ParseError as error:
        raise ServeError(f"{WHERE} is broken XML in line {error.position[0]}.") from None
    except CorpusError as error:
        raise ServeError(str(error)) from None
    tags = list(root.iter("Labels"))
    for text, key in _texts(root):
        own = [tag for tag in tags if text in tag.get("toName", "").split(",")]
        controls = {tag.get("name", ""): known_as(_labels(tag)) for tag in own}
        if any(controls.values()):
            return LabelConfig(text, key, controls)
    raise ServeError(
        f"{WHERE} has no <Labels> with a <Label> for a plain <Text> of the task, such as "
        '<Labels name="label" toName="text"> for <Text name="text" value="$text"/>.'
    )


def _texts(root: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """The names of plain texts, and their keys. The text at an address is not fetched."""
    for tag in root.iter("Text"):
        value = tag.get("value", "")
        if value.startswith("$") and tag.get("valueType", "text") == "text":
            yield tag.get("name", ""), value[1:]


def _labels(tag: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Names of types, and the label that each stands for: the types that a label is said to be
    predicted by (`predicted_values`), then the label itself."""
    for one in tag.iter("Label"):
        for name in one.get("predicted_values", "").split(","):
            yield name.strip(), _written(one)
    for one in tag.iter("Label"):
        yield _written(one), _written(one)
        yield one.get("value", ""), _written(one)


def _written(label: ElementTree.Element) -> str:
    """What stands for a label in results."""
    return label.get("alias") or label.get("value") or ""
