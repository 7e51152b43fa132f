"""The errors that spacy-btl raises on purpose, and its warnings.

Their messages say what was wrong, where, and what to do. They never quote the text of a note.
"""

from collections.abc import Sequence


class BtlError(ValueError):
    """Any error of ours: the command line prints it as one line, without a traceback."""


class FileError(BtlError):
    """A file that cannot be written, a YAML file that does not hold what it should, or a folder
    whose files cannot be told to be notes."""


class CorpusError(BtlError):
    """An annotated corpus that cannot be read. Names the file, and the line where there is one."""


class PipelineError(BtlError):
    """A pipeline, configuration or training corpus that a pipe of ours cannot work with."""


class CalibratorError(BtlError):
    """A calibrator that cannot be fitted, or a saved one that cannot be trusted."""


class GuaranteeError(BtlError):
    """A promise that cannot be made: what is asked for, or the notes to certify it on."""


class AnnotateError(BtlError):
    """Notes that cannot be annotated as asked: the input, the output, or a change between runs."""


class PageError(BtlError):
    """A note or a file that the page cannot show, or a page that cannot be opened."""


class ServeError(BtlError):
    """A service that cannot start, or a request that it cannot answer.

    status (int): The HTTP status that tells the tool so.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class BtlWarning(UserWarning):
    """Any warning of ours: what was asked for is done, and is not what it should be."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, for messages.

    >>> counted(1, "entity"), counted(1200, "entity"), counted(0, "note")
    ('1 entity', '1,200 entities', '0 notes')
    """
    if number != 1:
        noun = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names in a row, the first of many.

    >>> listed(["a", "b"]), listed(["a", "b", "c"], 2)
    ('a, b', 'a, b and 1 more')
    """
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def in_words(seconds: float) -> str:
    """A time as a reader says it, for messages: "40 seconds", "12 minutes", "3.5 hours"."""
    if seconds < 90:
        return counted(max(round(seconds), 1), "second")
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:.1f} hours"
