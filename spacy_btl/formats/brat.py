"""Read a folder of brat standoff: `NAME.txt` beside `NAME.ann`."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from spacy_btl.context.assertions import KIND_OF
from spacy_btl.corpora.claims import Claim, note_from_claims
from spacy_btl.corpora.note import Mention, Note, text_problem
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.errors import CorpusError
from spacy_btl.folders import files_below
from spacy_btl.formats.brat_types import label_of

# Events, relations, normalisations, equivalences, comments.
OTHER_KINDS = tuple("ERN*#")
ATTRIBUTES = ("A", "M")  # M in old files
# The name of an attribute, what it is said of, and its value if it has some to choose from.
ATTRIBUTE = re.compile(r"[AM]\S*\t(\S+) (\S+)( \S.*)?")
# The type, which may hold spaces though brat itself writes none, and the offsets.
TYPE_AND_OFFSETS = re.compile(
    r"(.*[^ ]) +([0-9]{1,9} [0-9]{1,9}(?:;[0-9]{1,9} [0-9]{1,9})*)", re.DOTALL
)
OTHER_ATTRIBUTE = "attributes that are no assertion of a mention, not read"
BOM = "\ufeff"


def read_brat(folder: Path, *, report: ConversionReport) -> Iterator[Note]:
    """Read the notes of a brat folder and its sub-folders, in the order of their names.

    Texts and annotations may be in two separate sub-folders. If no path has both a `.txt` and an
    `.ann` file, files are paired by their path below the first sub-folder.

    folder (Path): The folder.
    report (ConversionReport): Counts what is read, and what is invalid if it skips that.
    YIELDS (Note): Its id is the path of its file in the folder, without the suffix.
    RAISES: CorpusError, for a folder without notes, and for an invalid file or line that the
        report does not skip; FileError, for a folder with files of another kind.
    """
    files = {
        (file.id, file.suffix): file.path
        for file in files_below(folder, {".txt": "brat standoff", ".ann": "brat standoff"})
    }
    if not files:
        raise CorpusError(f"{folder}: no notes. A brat folder holds NAME.txt and NAME.ann.")
    if not any((name, ".ann") in files and suffix == ".txt" for name, suffix in files):
        files = _without_first_folder(files)
    for name in sorted({name for name, _ in files}):
        report.notes_read += 1
        txt, ann = (files.get((name, suffix)) for suffix in (".txt", ".ann"))
        note = _read_note(name, folder, txt, ann, report)
        if note is not None:
            yield note


def _without_first_folder(files: dict[tuple[str, str], Path]) -> dict[tuple[str, str], Path]:
    """Shorten the names by their first folder, unless two files would then share a name."""
    shorter = {
        (name.partition("/")[2] or name, suffix): path for (name, suffix), path in files.items()
    }
    return shorter if len(shorter) == len(files) else files


def _read_note(
    name: str, folder: Path, txt: Path | None, ann: Path | None, report: ConversionReport
) -> Note | None:
    shown = folder / name.encode("utf-8", "backslashreplace").decode("utf-8")
    if shown != folder / name:
        report.skip(report.notes_skipped, "file name not UTF-8", shown)
        return None
    if txt is None or ann is None:
        reason = ".ann without .txt" if txt is None else ".txt without .ann"
        report.skip(report.notes_skipped, reason, txt or ann)
        return None
    raw = _read_file(txt, report)
    annotation = None if raw is None else _read_file(ann, report)
    if raw is None or annotation is None:
        return None
    text = raw.removeprefix(BOM)
    problem = text_problem(text)
    if problem:
        report.skip(report.notes_skipped, problem, txt)
        return None
    claims = list(_claims(annotation.removeprefix(BOM), ann, report))
    note = Note(name, text, (), where=txt.relative_to(folder).as_posix())
    return note_from_claims(note, claims, report, before=raw[: len(raw) - len(text)])


def _read_file(path: Path, report: ConversionReport) -> str | None:
    """The text with its line ends and byte order mark unchanged; None if it was skipped."""
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        report.skip(report.notes_skipped, "not UTF-8", path)
        return None


def _claims(annotation: str, path: Path, report: ConversionReport) -> Iterator[Claim]:
    ids = set()
    # Not splitlines: a mention may hold a line end other than LF.
    lines = annotation.split("\n")
    assertions = _assertions(lines, report)
    for number, line in enumerate(lines, start=1):
        where = f"{path}, line {number}"
        if line.startswith("T"):
            claim = _parse_t_line(line.removesuffix("\r"), where, report)
            # A last line without a text and without a line end may be truncated.
            if claim is None or (not claim.texts and number == len(lines)):
                claim = Claim(where, None, problem="malformed T line")
            if claim.mention:
                twice = "mention id used twice" if claim.mention.id in ids else None
                ids.add(claim.mention.id)
                said = tuple(assertions.get(claim.mention.id, ()))
                claim = claim._replace(
                    mention=replace(claim.mention, assertions=said), problem=twice
                )
            yield claim
        elif line.startswith((*OTHER_KINDS, *ATTRIBUTES)) or not line.strip():
            continue
        elif "\t" in line:  # it has columns, so it may be a mention
            yield Claim(where, None, problem="unknown line")
        else:
            report.skip(report.lines_skipped, "unknown line", where)


def _assertions(lines: Sequence[str], report: ConversionReport) -> dict[str, list[str]]:
    """What attributes say of mentions, by the ids of these. Other attributes are counted."""
    mentions = {line.partition("\t")[0] for line in lines if line.startswith("T")}
    found: dict[str, list[str]] = {}
    for line in lines:
        if line.startswith(ATTRIBUTES):
            match = ATTRIBUTE.fullmatch(line.rstrip())
            kind = KIND_OF.get(match[1].lower()) if match and not match[3] else None
            if match is None or kind is None or match[2] not in mentions:
                report.remarks[OTHER_ATTRIBUTE] += 1
            elif kind not in found.setdefault(match[2], []):
                found[match[2]].append(kind)
    return found


def _parse_t_line(line: str, where: str, report: ConversionReport) -> Claim | None:
    """Read `ID<tab>TYPE OFFSETS<tab>TEXT`; None if it is malformed."""
    mention_id, _, rest = line.partition("\t")
    type_and_offsets, tab, text = rest.partition("\t")
    match = TYPE_AND_OFFSETS.fullmatch(type_and_offsets)
    label = report.normalize_label(match[1]) if match else ""
    has_more_offsets = " " in label and label.split()[-1].isdigit()
    if match is None or not label or has_more_offsets or mention_id.split() != [mention_id]:
        return None
    pieces = [piece.split(" ") for piece in match[2].split(";")]
    mention = Mention(
        mention_id, label_of(label), tuple((int(start), int(end)) for start, end in pieces)
    )
    if not tab:
        report.remarks["mentions without a text to check their offsets"] += 1
        return Claim(where, mention)
    return Claim(where, mention, (text, text.partition("\t")[0]))  # another column may follow
