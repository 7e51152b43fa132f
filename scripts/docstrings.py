"""Griffe extension: docstrings in spaCy's style (`name (type): text`, `RETURNS:`) as sections."""

import re
from collections.abc import Iterator
from typing import Any

import griffe

# The first line of a field; further lines are indented more, or start none of their own.
ARGUMENT = re.compile(r"(?P<name>\w+(?:, \w+)*) \((?P<type>.+?)\): (?P<text>.*)", re.DOTALL)
RESULT = re.compile(r"(?P<key>RETURNS|YIELDS)(?: \((?P<type>.+?)\))?: (?P<text>.*)", re.DOTALL)
RAISES = re.compile(r"RAISES: (?P<text>.*)", re.DOTALL)
ERROR = re.compile(r"(?P<name>\w+)[,.] ?(?P<text>.*)", re.DOTALL)
ERRORS = re.compile(r"; (?=\w+Error, )")  # several in one field
DOCTEST_FLAGS = re.compile(r" +# doctest: .*")
WITHIN_A_LINE = re.compile(r"(?<=\. )(?=(?:RETURNS|YIELDS|RAISES)[ :])")


class SpacyDocstrings(griffe.Extension):
    """Gives every docstring its sections, so that mkdocstrings need not parse it."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each object of a module."""
        if obj.docstring:
            named = "attributes" if obj.is_class else "parameters"
            obj.docstring.parsed = list(sections(obj.docstring.value, named))


def sections(docstring: str, named: str) -> Iterator[griffe.DocstringSection]:
    """Divide a docstring.

    docstring (str): Its text, not indented.
    named (str): What `name (type): text` describes: "parameters" or "attributes".
    YIELDS (DocstringSection): Text first, then one section for each kind of field, and the example
        at the docstring's end.
    """
    text, arguments, results, errors = [], [], [], []
    docstring, _, example = docstring.partition("\n>>> ")
    for part in _parts(docstring):
        if match := RESULT.fullmatch(part):
            results.append(match)
        elif match := RAISES.fullmatch(part):
            errors += ERRORS.split(match["text"])
        elif match := ARGUMENT.fullmatch(part):
            arguments.append(match)
        else:
            text.append(part)
    if text:
        yield griffe.DocstringSectionText("\n".join(text))
    if arguments:
        yield _arguments(arguments, named)
    for match in results:
        yield _result(match)
    if errors:
        yield griffe.DocstringSectionRaises([_error(error) for error in errors])
    if example:
        code = DOCTEST_FLAGS.sub("", f">>> {example}")
        yield griffe.DocstringSectionExamples([(griffe.DocstringSectionKind.examples, code)])


def _parts(docstring: str) -> Iterator[str]:
    """Fields with their further lines, each as one line; of the rest, line by line."""
    field: list[str] = []
    for line in WITHIN_A_LINE.sub("\n", docstring).splitlines():
        starts = any(pattern.match(line) for pattern in (ARGUMENT, RESULT, RAISES))
        if field and (starts or not line.startswith(" ")):
            yield " ".join(field)
            field = []
        if starts or field:
            field.append(line.strip())
        else:
            yield line
    if field:
        yield " ".join(field)


def _arguments(matches: list[re.Match[str]], named: str) -> griffe.DocstringSection:
    fields = [(match["name"], match["text"], match["type"]) for match in matches]
    if named == "attributes":
        return griffe.DocstringSectionAttributes(
            [griffe.DocstringAttribute(n, description=t, annotation=a) for n, t, a in fields]
        )
    return griffe.DocstringSectionParameters(
        [griffe.DocstringParameter(n, description=t, annotation=a) for n, t, a in fields]
    )


def _result(match: re.Match[str]) -> griffe.DocstringSection:
    value = {"name": "", "description": match["text"], "annotation": match["type"]}
    if match["key"] == "YIELDS":
        return griffe.DocstringSectionYields([griffe.DocstringYield(**value)])
    return griffe.DocstringSectionReturns([griffe.DocstringReturn(**value)])


def _error(text: str) -> griffe.DocstringRaise:
    """`CorpusError, for a bad file.` as the error and when it is raised; or text alone."""
    match = ERROR.fullmatch(text)
    if match is None or not match["name"].endswith(("Error", "Exception")):
        return griffe.DocstringRaise(annotation="", description=text)
    when = match["text"]
    return griffe.DocstringRaise(annotation=match["name"], description=when[:1].upper() + when[1:])
