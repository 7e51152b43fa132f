"""The forms of a JSON record that holds a text or tokens, and its mentions, turned into one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from spacy_btl.formats.tokens import joined, mentions_of_tags, tag_problem

TAGS = ("ner_tags", "tags", "labels")  # of Hugging Face's data sets
OF_THE_TEXT = "labels of the whole text, which are no mentions"


def to_record(value: Any, beside: Mapping[str, bytes]) -> dict[str, Any] | str:
    """Return a record as `{"text", "ents" or "spans", ...}`, or why it cannot be read.

    Beside that form, the forms of doccano (`label`, or `entities` and `relations`), spaCy 2
    (`[text, {"entities"}]`), Hugging Face (`tokens`, `ner_tags`) and GLiNER (`tokenized_text`,
    `ner`) are read. Others are returned as they are.

    beside (Mapping[str, bytes]): May hold the `dataset_info.json` that names the tags.
    """
    if isinstance(value, list):
        return _from_spacy_2(value)
    if not isinstance(value, dict):
        return "not a JSON object"
    if "tokenized_text" in value:
        return _from_gliner(value)
    tags = next((key for key in TAGS if key in value), None)
    if _all(value.get("tokens"), str) and value["tokens"] is not None and tags:
        return _from_tags(value, tags, beside)
    if "ents" not in value and "spans" not in value:
        return _from_doccano(value)
    return value


def is_doccano(value: Any) -> bool:
    """Whether a record has labels in a form of doccano's."""
    if not isinstance(value, dict) or value.keys() & {"spans", "ents", "answer", *TAGS[:2]}:
        return False
    return _all(value.get("label"), list) or ("relations" in value and "entities" in value)


def _from_spacy_2(value: list[Any]) -> dict[str, Any] | str:
    match value:
        case [str(text), {"entities": list(entities)}]:
            return {"text": text, "ents": entities}
        case [str(), dict()]:
            return "a pair of spaCy 2 without a list of entities"
    return "not a JSON object"


def _from_doccano(value: dict[str, Any]) -> dict[str, Any] | str:
    entities = value.get("entities")
    if _are_dicts(entities) and ("relations" in value or _has(entities, "start_offset")):
        ents = [_doccano_entity(entity) for entity in entities]
        return {**_without(value, "entities", "relations", "label"), "ents": ents}
    for key in ("label", "labels"):
        labels = value.get(key)
        if "answer" in value or not isinstance(labels, list):
            continue
        if labels and _all(labels, str):
            return OF_THE_TEXT
        if _all(labels, list):
            return {**_without(value, key), "ents": labels}
    return value


def _doccano_entity(entity: dict[str, Any]) -> dict[str, Any]:
    start, end = entity.get("start_offset"), entity.get("end_offset")
    return {"start": start, "end": end, "label": entity.get("label")}


def _from_tags(
    value: dict[str, Any], key: str, beside: Mapping[str, bytes]
) -> dict[str, Any] | str:
    tokens, tags = value["tokens"], value[key]
    if not isinstance(tags, list) or len(tags) != len(tokens):
        return "as many tokens as tags are needed"
    if tags and _all(tags, int):
        names = _tag_names(key, beside)
        if names is None:
            return (
                "tags are numbers without names: put the data set's dataset_info.json beside the "
                "file (`dataset.info.write_to_directory`)"
            )
        if not all(0 <= tag < len(names) for tag in tags):
            return "a tag that dataset_info.json does not name"
        tags = [names[tag] for tag in tags]
    problem = next(filter(None, map(tag_problem, tags)), None) if _all(tags, str) else "no tags"
    if problem:
        return problem
    text, offsets = joined(tokens)
    ents = [
        [offsets[first][0], offsets[last][1], label]
        for label, first, last in mentions_of_tags(tags)
    ]
    return {**_without(value, "tokens", key), "text": text, "ents": ents}


def _tag_names(key: str, beside: Mapping[str, bytes]) -> Sequence[str] | None:
    """The names of the tags in `dataset_info.json`, which the `datasets` library writes."""
    try:
        feature = json.loads(beside["dataset_info.json"])["features"][key]
        names = feature.get("feature", feature)["names"]
    except (KeyError, ValueError, AttributeError, TypeError):
        return None
    return names if _all(names, str) else None


def _from_gliner(value: dict[str, Any]) -> dict[str, Any] | str:
    tokens, mentions = value["tokenized_text"], value.get("ner")
    if not _all(tokens, str) or not isinstance(mentions, list):
        return '"tokenized_text" and "ner" are not two lists'
    text, offsets = joined(tokens)
    ents = []
    for mention in mentions:
        match mention:
            case [int(first), int(last), str(label)] if 0 <= first <= last < len(tokens):
                ents.append([offsets[first][0], offsets[last][1], label])
            case _:
                return "a mention without a first and last token and a type"
    return {**_without(value, "tokenized_text", "ner"), "text": text, "ents": ents}


def _without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in keys}


def _all(items: Any, kind: type[Any]) -> bool:
    return isinstance(items, list) and all(type(item) is kind for item in items)


def _are_dicts(items: Any) -> TypeGuard[list[dict[str, Any]]]:
    return _all(items, dict)


def _has(items: Sequence[dict[str, Any]], key: str) -> bool:
    return any(key in item for item in items)
