r"""What compiling gains and costs, in each precision, beside the pipeline that is compiled.

    python -m bench.compiled training/maccrobat/calibrated corpus/maccrobat/test.spacy \
        corpus/maccrobat/dev.spacy bench/results/compiled.json

The test documents are read by all pipelines. Speed is that of `nlp.pipe` on some of them, in turn
in one process. Peak memory and the time to load are those of fresh processes.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import spacy
import torch
import typer
from spacy.language import Language
from spacy.training import Corpus

from bench.__main__ import machine, versions
from bench.pipelines import run, words_of
from bench.processes import process
from bench.ratios import figures, in_turn, pairwise, quartiles
from spacy_btl.compiled.compile import compile_pipeline
from spacy_btl.compiled.engine import PRECISIONS
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.evaluation.predictions import predict
from spacy_btl.files import write_file
from spacy_btl.metrics.counts import patient_counts, total
from spacy_btl.metrics.scores import scores

TRAINED = "trained"
FIGURES = ("ents_f", "tag_uar", "ents_ece")
MEMORY_NOTES = 1_000

Entities = set[tuple[int, ...]]


def main(
    model: Path = typer.Argument(..., help="A calibrated pipeline, from a folder"),
    test: Path = typer.Argument(..., help="The .spacy file of documents that it never had"),
    calibration: Path = typer.Argument(..., help="The .spacy file that int8 is given"),
    output: Path = typer.Argument(..., help="The result file"),
    n_notes: int = typer.Option(12, min=1, help="Notes that speed is measured on"),
    repeats: int = typer.Option(5, min=2, help="Measurements of each pipeline, in turn"),
) -> None:
    """Measure all precisions and write what was found."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = {TRAINED: model}
        for precision in PRECISIONS:
            paths[precision] = Path(folder, precision)
            compile_pipeline(
                str(model), paths[precision], precision=precision, calibration=calibration
            )
        rows = _rows(paths, test, n_notes, repeats, Path(folder))
    found = {
        "machine": machine(-1),
        "versions": versions(),
        "threads": 1,
        "test": f"{test.parent.name}/{test.name}",
        "notes": n_notes,
        "memory_notes": MEMORY_NOTES,
        "rows": rows,
    }
    write_file(output, (json.dumps(found, indent=1) + "\n").encode("utf-8"))


def _rows(
    paths: dict[str, Path], test: Path, n_notes: int, repeats: int, work: Path
) -> list[dict[str, Any]]:
    """A row for each pipeline, the trained one first."""
    pipelines = {name: spacy.load(path) for name, path in paths.items()}
    texts = [doc.text for doc in read_docs(test, spacy.blank("en").vocab)]
    clauses = work / "clauses.json"
    clauses.write_text(json.dumps([text[:80] for text in texts]), encoding="utf-8")
    cases = {name: partial(run, nlp, texts[:n_notes]) for name, nlp in pipelines.items()}
    taken = in_turn(cases, repeats)
    loads = {
        name: process(f"import spacy\nspacy.load({str(path)!r})") for name, path in paths.items()
    }
    loaded = in_turn({**loads, "spacy": process("import spacy")}, repeats=3)
    words = words_of(texts[:n_notes])
    expected: Entities = set()
    rows = []
    for name, nlp in pipelines.items():
        entities, measured = _quality(nlp, test)
        expected = expected or entities
        rows.append(
            {
                "name": name,
                **measured,
                "entities": len(entities),
                "identical": round(len(entities & expected) / len(expected), 4),
                "speed": quartiles(pairwise(taken[TRAINED], taken[name])),
                **figures(taken[name], words),
                "load": quartiles(pairwise(loaded[name], loaded["spacy"])),
                "folder_mb": round(_size(paths[name]) / 1e6, 1),
                "zip_mb": round(_zipped(paths[name], work / "zip") / 1e6, 1),
                "peak_mib": round(_peak(paths[name], clauses)),
            }
        )
    return rows


def _quality(nlp: Language, test: Path) -> tuple[Entities, dict[str, float]]:
    """What a pipeline finds, and how good it is."""
    examples = Corpus(test).make_examples(nlp, read_docs(test, nlp.vocab))
    predictions = predict(nlp, examples)
    values = scores(total(patient_counts(predictions)))
    found = {tuple(entity) for entity in predictions.predicted_ents.tolist()}
    return found, {name: round(float(values[name]), 4) for name in FIGURES}


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _zipped(folder: Path, archive: Path) -> int:
    """The bytes of a folder as a zip archive, as a wheel is one."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*")):
            file.write(path, path.relative_to(folder))
    return archive.stat().st_size


def _peak(model: Path, clauses: Path) -> float:
    """The peak memory of a process that reads notes, in MiB."""
    command = [sys.executable, "-m", "bench.memory", str(model), str(clauses)]
    done = subprocess.run([*command, str(MEMORY_NOTES), "-1"], stdout=subprocess.PIPE, check=True)
    return int(done.stdout) / 1024


if __name__ == "__main__":
    typer.run(main)
