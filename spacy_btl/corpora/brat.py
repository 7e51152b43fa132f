"""Read a folder of brat standoff: `NAME.txt` beside `NAME.ann`."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from spacy_btl.corpora.note import Account, Mention, Note, mention_problem, text_problem
from spacy_btl.errors import CorpusError

# Events, relations, attributes (M in old files), normalisations, equivalences, comments.
OTHER_KINDS = tuple("ERAMN*#")
T_LINE = re.compile(r"(T\S*)\t(\S+) ([0-9]{1,9} [0-9]{1,9}(?:;[0-9]{1,9} [0-9]{1,9})*)\t(.*)")
BOM = "\ufeff"


class _Row(NamedTuple):
    """A T line: where it stands, its mention, and the text it says the mention has."""

    where: str
    mention: Mention
    text: str


def read_brat(folder: Path, *, account: Account) -> Iterator[Note]:
    """Read the notes of a brat folder, in the order of their names. Sub-folders are not searched.

    folder (Path): The folder. Hidden files and those that are neither .txt nor .ann are ignored.
    account (Account): Counts what is read and, if it is told to skip, what is invalid.
    YIELDS (Note): Its id is the file's name without the suffix.
    RAISES: CorpusError, for a folder without notes, and for an invalid file or line that the
        account does not skip.
    """
    files = [path for path in folder.iterdir() if not path.name.startswith(".")]
    stems = sorted({path.stem for path in files if path.suffix in (".txt", ".ann")})
    if not stems:
        raise CorpusError(f"{folder}: no note here. A brat folder holds NAME.txt and NAME.ann.")
    for stem in stems:
        account.notes_read += 1
        note = _read_note(folder / f"{stem}.txt", folder / f"{stem}.ann", account)
        if note is not None:
            yield note


def _read_note(txt: Path, ann: Path, account: Account) -> Note | None:
    name = txt.stem.encode("utf-8", "backslashreplace").decode("utf-8")
    if name != txt.stem:
        account.skip(account.notes_skipped, "file name not UTF-8", txt.with_name(name))
        return None
    raw = _read_file(txt, ann, account)
    annotation = None if raw is None else _read_file(ann, txt, account)
    if raw is None or annotation is None:
        return None
    problem = text_problem(raw)
    if problem:
        account.skip(account.notes_skipped, problem, txt)
        return None
    rows = list(_read_rows(annotation.removeprefix(BOM), ann, account))
    text = min(_readings(raw), key=lambda text: sum(bool(_row_problem(row, text)) for row in rows))
    mentions = []
    for row in rows:
        problem = _row_problem(row, text)
        if problem:
            account.skip(account.mentions_invalid, problem, row.where)
        else:
            mentions.append(row.mention)
    return Note(txt.stem, text, tuple(mentions))


def _read_file(path: Path, other: Path, account: Account) -> str | None:
    """The file as it is, line ends and byte order mark included; None if it had to be skipped."""
    if not path.is_file():
        account.skip(account.notes_skipped, f"{other.suffix} without {path.suffix}", other)
        return None
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        account.skip(account.notes_skipped, "not UTF-8", path)
        return None


def _readings(raw: str) -> list[str]:
    """The texts that the offsets may count in: tools differ about CRLF and the byte order mark."""
    texts = [raw.removeprefix(BOM), raw]
    return list(dict.fromkeys([*texts, *(text.replace("\r\n", "\n") for text in texts)]))


def _read_rows(annotation: str, path: Path, account: Account) -> Iterator[_Row]:
    ids = set()
    # Not splitlines: a mention may hold one of the exotic line ends.
    for number, line in enumerate(annotation.split("\n"), start=1):
        where = f"{path}, line {number}"
        if line.startswith("T"):
            account.mentions_read += 1
            match = T_LINE.fullmatch(line)
            if match is None:
                account.skip(account.mentions_invalid, "malformed T line", where)
            elif match[1] in ids:
                account.skip(account.mentions_invalid, "mention id used twice", where)
            else:
                ids.add(match[1])
                pieces = [piece.split(" ") for piece in match[3].split(";")]
                fragments = tuple((int(start), int(end)) for start, end in pieces)
                yield _Row(where, Mention(match[1], match[2], fragments), match[4])
        elif line.strip() and not line.startswith(OTHER_KINDS):
            account.skip(account.lines_skipped, "unknown line", where)


def _row_problem(row: _Row, text: str) -> str | None:
    problem = mention_problem(row.mention, text)
    if problem:
        return problem
    found = " ".join(text[start:end] for start, end in row.mention.fragments)
    if found.split() != row.text.split():  # line ends and exotic blanks appear as plain blanks
        return "mention text unlike the offsets"
    return None
