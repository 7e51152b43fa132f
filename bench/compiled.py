r"""What compiling gains and costs, in each precision, beside the pipeline that is compiled.

    python -m bench.compiled training/maccrobat/calibrated corpus/maccrobat/test.spacy \
        corpus/maccrobat/dev.spacy bench/results/compiled.json

The test documents are read by all pipelines. Speed, memory and the time to load are those of fresh
processes; speed and loading in turn. `--before` and `--runtime` are the Pythons of two other
environments: one with an earlier build, and one in which only what prediction needs is installed.
`--second` measures quality alone, with the pipeline and the documents of another fold. Parts that
have been measured are not measured again: remove the result file to start over. The page needs all
of these options.
"""

import json
import os
import random
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import spacy
import torch
import typer
from spacy.language import Language
from spacy.training import Corpus

from bench.__main__ import machine, physical_cores, versions
from bench.material import Setup
from bench.memory import clauses_of, notes
from bench.others import edsnlp_case, huggingface_case
from bench.parts import spent, timed
from bench.pipelines import run, window_of, words_of
from bench.processes import process
from bench.ratios import differs, figures, in_turn, pairwise, quartiles
from bench.rounding import PARTS, round_part
from spacy_btl.compiled.compile import compile_pipeline
from spacy_btl.compiled.encoder import shim_of
from spacy_btl.compiled.engine import PRECISIONS, Precision
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.evaluation.predictions import predict
from spacy_btl.files import write_file
from spacy_btl.metrics.counts import patient_counts, total
from spacy_btl.metrics.scores import scores

BEFORE, TRAINED = "before", "trained"
FIGURES = ("ents_f", "tag_uar", "ents_ece")
SHORT_NOTES = 10_000
ENGINE = " on the engine"
LOADS = 5
READINGS = 5  # by a process
BASE: tuple[Precision, ...] = ("int8", "fp32")
LOAD = "import spacy\nspacy.load({!r})"

Entities = set[tuple[int, ...]]
Rows = dict[str, dict[str, Any]]


def main(  # noqa: PLR0913, PLR0917 - an argument is an option of the command
    model: Path = typer.Argument(..., help="A calibrated pipeline, from a folder"),
    test: Path = typer.Argument(..., help="The .spacy file of documents that it never had"),
    calibration: Path = typer.Argument(..., help="The .spacy file that int8 is given"),
    output: Path = typer.Argument(..., help="The result file"),
    before: tuple[Path, Path] = typer.Option(
        None, help="The Python of an earlier build, and the pipeline in its form"
    ),
    runtime: Path = typer.Option(None, help="The Python of an environment for prediction alone"),
    second: tuple[Path, Path, Path] = typer.Option(
        None, help="Pipeline, test and calibration of another fold"
    ),
    base: Path = typer.Option(None, help="The folder of an encoder of BERT's full size"),
    demo: tuple[Path, Path] = typer.Option(
        None, help="The demo's pipeline and its dev documents, for the size of its wheel"
    ),
    n_notes: int = typer.Option(30, min=1, help="Notes that speed is measured on"),
    repeats: int = typer.Option(5, min=2, help="Measurements of each pipeline, in turn"),
) -> None:
    """Measure all precisions and write what was found."""
    threads = physical_cores()
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the engine, and of processes
    torch.set_num_threads(threads)
    found: dict[str, Any] = json.loads(output.read_text()) if output.exists() else {}
    setting = {
        "machine": machine(-1),
        "versions": versions(),
        "threads": threads,
        "test": f"{test.parent.name}/{test.name}",
        "notes": n_notes,
        "short_notes": SHORT_NOTES,
    }
    other = [key for key, value in setting.items() if differs(found.get(key, value), value)]
    if other:
        raise typer.BadParameter(
            f"{output} was measured with another {', '.join(other)}: remove it."
        )
    found |= setting

    def measure(part: str, function: Callable[[], Any]) -> None:
        if part not in found:
            found[part] = function()
            write_file(output, (json.dumps(found, indent=1) + "\n").encode("utf-8"))

    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        setup = Setup(work, test, None, model, None, n_notes, repeats, -1, 0, 0)
        paths = {TRAINED: model, **_compile(model, calibration, work)}
        pythons = {name: (runtime or Path(sys.executable), path) for name, path in paths.items()}
        pythons[TRAINED] = (Path(sys.executable), model)
        if before is not None:
            pythons = {BEFORE: before, **pythons}
        measure("quality", lambda: _quality(paths, test))
        measure("rounding", lambda: _rounding(paths, test))
        measure("sizes", lambda: {name: _sizes(path, work) for name, path in paths.items()})
        measure("speed", lambda: _speed(pythons, setup))
        measure("peers", lambda: _peers(setup, paths["int8"]))
        measure("engine", lambda: _engine(paths, setup))
        measure("load", lambda: _load(pythons))
        measure("memory", lambda: _memory(pythons, setup))
        if second is not None:
            measure("second", lambda: _second(*second, work / "second"))
        if demo is not None:
            measure("demo", lambda: _demo(*demo, work))
        if base is not None:
            measure("base", lambda: _base(setup, base, calibration))


def _compile(model: Path, calibration: Path, work: Path) -> dict[str, Path]:
    """The folder of the pipeline in each precision."""
    paths = {precision: work / precision for precision in PRECISIONS}
    for precision, path in paths.items():
        compile_pipeline(str(model), path, precision=precision, calibration=calibration)
    return {str(precision): path for precision, path in paths.items()}


def _quality(paths: Mapping[str, Path], test: Path) -> Rows:
    """How good each pipeline is, and how much of the first's entities it finds."""
    expected: Entities = set()
    rows = {}
    for name, path in paths.items():
        entities, values = _read(spacy.load(path), test)
        expected = expected or entities
        rows[name] = {**values, "entities": len(entities), "identical": _share(entities, expected)}
    return rows


def _rounding(paths: Mapping[str, Path], test: Path) -> dict[str, float]:
    """The share of entities that stay where a part of the weights is rounded to int8."""
    expected, _ = _read(spacy.load(paths["fp32"]), test)
    found = {}
    for part in PARTS:
        nlp = spacy.load(paths["fp32"])
        round_part(nlp, "transformer", part)
        found[part] = _share(_read(nlp, test)[0], expected)
    return found


def _read(nlp: Language, test: Path) -> tuple[Entities, dict[str, float]]:
    """What a pipeline finds, and how good it is."""
    examples = Corpus(test).make_examples(nlp, read_docs(test, nlp.vocab))
    predictions = predict(nlp, examples)
    values = scores(total(patient_counts(predictions)))
    found = {tuple(entity) for entity in predictions.predicted_ents.tolist()}
    return found, {figure: round(float(values[figure]), 4) for figure in FIGURES}


def _share(entities: Entities, expected: Entities) -> float:
    return round(len(entities & expected) / len(expected), 4)


def _second(model: Path, test: Path, calibration: Path, work: Path) -> Rows:
    work.mkdir()
    return _quality({TRAINED: model, **_compile(model, calibration, work)}, test)


def _sizes(path: Path, work: Path) -> dict[str, float]:
    """Megabytes of a folder, and as a zip archive, as a wheel is one."""
    archive = work / "zip"
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for file in files:
            zipped.write(file, file.relative_to(path))
    size = sum(file.stat().st_size for file in files)
    return {
        "folder_mb": round(size / 1e6, 1),
        "zip_mb": round(archive.stat().st_size / 1e6, 1),
    }


def _demo(model: Path, calibration: Path, work: Path) -> dict[str, float]:
    """The size of the demo's pipeline in int8."""
    path = work / "demo"
    compile_pipeline(str(model), path, precision="int8", calibration=calibration)
    return _sizes(path, work)


def _speed(pythons: Mapping[str, tuple[Path, Path]], setup: Setup) -> Rows:
    """Words per second of each over those of the trained pipeline, and of the earlier build."""
    texts = setup.work / "texts.json"
    texts.write_text(json.dumps(setup.texts), encoding="utf-8")
    taken: dict[str, list[float]] = {name: [] for name in pythons}
    for _ in range(setup.repeats):
        for name, (python, path) in pythons.items():
            taken[name].append(spent(python, path, texts, times=READINGS)["seconds"])
    words = words_of(setup.texts)
    return {
        name: {
            **figures(seconds, words),
            **{
                f"over_{other}": quartiles(pairwise(taken[other], seconds))
                for other in (BEFORE, TRAINED)
                if other in taken
            },
        }
        for name, seconds in taken.items()
    }


def _peers(setup: Setup, compiled: Path) -> Rows:
    """Words per second of the pipeline in int8 over those of peers with the same weights, as they
    are and with the same encoder in int8 in them."""
    nlp, model = setup.trained(), str(setup.model_path)
    window = window_of(nlp)
    overlap = nlp.config["components"]["transformer"]["model"].get("overlap") or window // 8
    ours = spacy.load(compiled)
    common = (setup, model, setup.work / "checkpoint", torch.float32)
    sizes = {"window": window, "overlap": overlap}
    cases = {"int8": partial(run, ours, setup.texts)}
    networks = {"": None, ENGINE: shim_of(ours.get_pipe("transformer").model).network}
    for suffix, network in networks.items():
        cases[f"Hugging Face{suffix}"] = huggingface_case(
            *common, **sizes, batch_size=nlp.batch_size, network=network
        )
        cases[f"EDS-NLP{suffix}"] = edsnlp_case(*common, **sizes, network=network)
    taken = in_turn(cases, setup.repeats)
    words = words_of(setup.texts)
    return {
        name: {**figures(seconds, words), "int8_over": quartiles(pairwise(seconds, taken["int8"]))}
        for name, seconds in taken.items()
    }


def _engine(paths: Mapping[str, Path], setup: Setup) -> dict[str, float]:
    """The share of the time of `nlp.pipe` that the engine takes: the rest can be saved at most."""
    shares = {}
    for name in PRECISIONS:
        nlp = spacy.load(paths[name])
        network = shim_of(nlp.get_pipe("transformer").model).network
        run(nlp, setup.texts)
        measured = []
        for _ in range(setup.repeats):
            with timed(network, "run") as passes:
                begin = time.perf_counter()
                run(nlp, setup.texts)
                measured.append(sum(passes) / (time.perf_counter() - begin))
        shares[str(name)] = round(statistics.median(measured), 3)
    return shares


def _load(pythons: Mapping[str, tuple[Path, Path]]) -> Rows:
    """`spacy.load` in a fresh process, over `import spacy` in the same environment."""
    found = {}
    for name, (python, path) in pythons.items():
        cases = {
            "load": process(LOAD.format(str(path.resolve())), python),
            "import": process("import spacy", python),
        }
        taken = in_turn(cases, LOADS)
        found[name] = {
            "over_import": quartiles(pairwise(taken["load"], taken["import"])),
            **{f"{case}_ms": figures(seconds)["ms"] for case, seconds in taken.items()},
        }
    return found


def _memory(pythons: Mapping[str, tuple[Path, Path]], setup: Setup) -> dict[str, float]:
    """The peak of a process that reads short notes, in MiB."""
    texts = setup.work / "short.json"
    texts.write_text(json.dumps(list(notes(clauses_of(setup.docs), SHORT_NOTES))), encoding="utf-8")
    return {
        name: round(spent(python, path, texts, times=1)["peak_mib"])
        for name, (python, path) in pythons.items()
    }


def _base(setup: Setup, encoder: Path, calibration: Path) -> Rows:
    """Words per second with an encoder of BERT's full size, untrained, over float32 by torch."""
    base = setup.calibrated(encoder, fitted_to=2, rows=0)
    model = setup.work / "base"
    base.to_disk(model)
    pipelines = {TRAINED: base}
    for precision in BASE:
        path = setup.work / f"base-{precision}"
        compile_pipeline(str(model), path, precision=precision, calibration=calibration)
        pipelines[str(precision)] = spacy.load(path)
    texts = random.Random(0).sample(setup.texts, min(8, len(setup.texts)))
    taken = in_turn({name: partial(run, nlp, texts) for name, nlp in pipelines.items()}, 3)
    words = words_of(texts)
    return {
        name: {
            **figures(seconds, words),
            "over_trained": quartiles(pairwise(taken[TRAINED], seconds)),
        }
        for name, seconds in taken.items()
    }


if __name__ == "__main__":
    typer.run(main)
