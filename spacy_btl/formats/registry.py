"""The formats that are read, and how each is recognised by what a file holds."""

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from spacy_btl.about import how_to_install
from spacy_btl.corpora.note import Note
from spacy_btl.corpora.report import ConversionReport
from spacy_btl.corpora.source import Source, sources_of
from spacy_btl.errors import CorpusError, FileError
from spacy_btl.formats.bioc_reader import (
    is_bioc_json,
    is_bioc_xml,
    read_bioc_json,
    read_bioc_xml,
)
from spacy_btl.formats.brat import read_brat
from spacy_btl.formats.conll import is_conll, read_conll
from spacy_btl.formats.i2b2 import is_i2b2, read_i2b2
from spacy_btl.formats.label_studio import (
    is_json_min,
    is_label_studio,
    read_json_min,
    read_label_studio,
)
from spacy_btl.formats.medcat import is_medcat, read_medcat
from spacy_btl.formats.pubtator import is_pubtator, read_pubtator
from spacy_btl.formats.records import is_records, read_records
from spacy_btl.formats.spacy_docs import is_spacy, read_spacy
from spacy_btl.inception.cas import is_cas, read_cas
from spacy_btl.inception.webanno import is_webanno, read_webanno


class Format(NamedTuple):
    """A format of annotation.

    name (str): What to call it.
    recognise (Callable[[Source], bool]): Whether a file is of this format.
    read (Callable[[Sequence[Source], ConversionReport], Iterator[Note]]): Reads files of it.
    library (str): The module that it is read by, if that is an extra's.
    extra (str): The extra.
    has_layers (bool): Whether `read` takes the layers of INCEpTION.
    """

    name: str
    recognise: Callable[[Source], bool]
    read: Callable[..., Iterator[Note]]
    library: str = ""
    extra: str = ""
    has_layers: bool = False


# In the order in which they are tried: what is told by its first line, then by its keys.
FORMATS = (
    Format(".spacy", is_spacy, read_spacy),
    Format("WebAnno TSV 3", is_webanno, read_webanno, has_layers=True),
    Format("UIMA CAS", is_cas, read_cas, "cassis", "inception", has_layers=True),
    Format("BioC XML", is_bioc_xml, read_bioc_xml, "bioc", "bioc"),
    Format("i2b2 XML", is_i2b2, read_i2b2),
    Format("PubTator", is_pubtator, read_pubtator),
    Format("MedCATtrainer", is_medcat, read_medcat),
    Format("Label Studio JSON", is_label_studio, read_label_studio),
    Format("Label Studio JSON_MIN", is_json_min, read_json_min),
    Format("BioC JSON", is_bioc_json, read_bioc_json, "bioc", "bioc"),
    Format("JSON records", is_records, read_records),
    Format("CoNLL", is_conll, read_conll),
)
NAMES = (
    "a brat folder, JSON lines, Label Studio, doccano, Prodigy, spaCy 2, Hugging Face, GLiNER, "
    "CoNLL, INCEpTION (CAS JSON, XMI, WebAnno TSV 3), BioC, PubTator, MedCATtrainer, i2b2 XML or "
    ".spacy"
)


def read_notes(src: Path, report: ConversionReport, layers: Sequence[str] = ()) -> Iterator[Note]:
    """Read annotated notes of any of the formats, which is recognised by what the files hold.

    src (Path): A file, a zip archive or a folder. All files are of one format.
    layers (Sequence[str]): The layers of INCEpTION to read, as for `notes_of_layers`.
    RAISES: CorpusError, for a source that is missing or of no format or of several, a format whose
        library is not installed, and what its reader raises.
    """
    if not src.exists():
        raise CorpusError(f"{src}: no such file or folder.")
    if src.is_dir() and _is_brat(src):
        format_ = None
    else:
        sources = sources_of(src)
        format_ = _format_of(src, sources)
        report.format = format_.name
    if layers and not (format_ and format_.has_layers):
        raise CorpusError(f"{src}: has no layers. --layer is for exports of INCEpTION.")
    if format_ is None:
        report.format = "brat"
        return read_brat(src, report=report)
    _require_library(src, format_)
    if format_.has_layers:
        return format_.read(sources, report, layers)
    return format_.read(sources, report)


def _is_brat(folder: Path) -> bool:
    """Whether a folder has a file of brat's annotation."""
    return any(path.suffix.lower() == ".ann" for path in folder.rglob("*"))


def _format_of(src: Path, sources: Sequence[Source]) -> Format:
    if not sources:
        raise CorpusError(f"{src}: no file that could hold annotation. Give {NAMES}.")
    found: dict[str, tuple[Format, Source]] = {}
    for source in sources:
        for format_ in FORMATS:
            if format_.recognise(source):
                found.setdefault(format_.name, (format_, source))
                break
        else:
            raise CorpusError(f"{source.where}: of no format that is read: {NAMES}.")
    if len(found) > 1:
        listed = " and ".join(f"{name} ({found[name][1].name})" for name in sorted(found))
        raise FileError(f"{src}: holds {listed}. Give files of one format only.")
    ((format_, _),) = found.values()
    return format_


def _require_library(src: Path, format_: Format) -> None:
    if format_.library and find_spec(format_.library) is None:
        raise CorpusError(
            f"{src}: looks like {format_.name}, which needs a library that is not installed: "
            f"install it {how_to_install(format_.extra)}."
        )
