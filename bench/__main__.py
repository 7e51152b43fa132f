"""Measure what spacy-btl costs, in ratios: `make bench`, or

    python -m bench [NAME ...] --output bench/results/cpu.json

Without a NAME everything is measured; a NAME alone replaces its own entry of the file.
"""

import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

ROOT = Path(__file__).parent.parent
PACKAGES = ("spacy", "thinc", "spacy-transformers", "transformers", "torch", "numpy")
OTHERS = ("scikit-learn", "openvino", "nncf", "edsnlp", "faiss-cpu", "hnswlib", "usearch")


def main(  # noqa: PLR0913, PLR0917 - an argument is an option of the command
    names: list[str] = typer.Argument(None, help="What to measure; everything if left out"),
    output: Path = typer.Option(None, help="Result file; bench/results/cpu.json or cuda.json"),
    notes: Path = typer.Option(
        None, envvar="BENCH_NOTES", help="A .spacy file or a brat folder; MACCROBAT or the demo"
    ),
    encoder: Path = typer.Option(
        None, envvar="BENCH_ENCODER", help="Folder of the MiniLM encoder; assets/minilm"
    ),
    model: Path = typer.Option(
        None, envvar="BENCH_MODEL", help="Folder of a trained, calibrated pipeline; in training/"
    ),
    overlapping: Path = typer.Option(
        None, envvar="BENCH_OVERLAPPING", help="The same trained with spans_key; in training/"
    ),
    n_notes: int = typer.Option(30, min=1, help="Notes that inference is measured on"),
    repeats: int = typer.Option(7, min=1, help="Pairs of measurements; fewer of what takes long"),
    stream: int = typer.Option(100_000, min=1, help="Notes of memory_growth"),
    characters: int = typer.Option(1_000_000, min=1, help="Characters of long_note"),
    threads: int = typer.Option(0, help="Threads; 0: the physical cores that may be used"),
    gpu_id: int = typer.Option(-1, help="The CUDA device; -1: the CPU"),
) -> None:
    """Measure ratios of cost and write them with the machine and the versions."""
    threads = threads or physical_cores()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(threads)  # read at import, so nothing heavy is imported before
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch
    from spacy import require_gpu

    from bench import (
        inference,
        memory,
        parts,
        processes,
        ratios,
        search,
        training,
    )
    from bench.material import Setup

    known: dict[str, Callable[[Setup], Any]] = {
        **training.RATIOS,
        **inference.RATIOS,
        **parts.RATIOS,
        **memory.RATIOS,
        **processes.RATIOS,
    }
    tables = {module.NAME: module.measure for module in (search, inference, parts, training)}
    wanted = names or [*ratios.LIMITS, *tables]
    unknown = set(wanted) - {*known, *tables}
    if unknown:
        all_names = ", ".join([*known, *tables])
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: not one of {all_names}")
    torch.set_num_threads(threads)
    device = "cpu" if gpu_id < 0 else "cuda"
    if gpu_id >= 0:
        require_gpu(gpu_id)
    output = output or ROOT / "bench" / "results" / f"{device}.json"
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(
            work=Path(folder),
            notes=notes,
            encoder=encoder,
            model=model,
            overlapping=overlapping,
            n_notes=n_notes,
            repeats=repeats,
            gpu_id=gpu_id,
            stream=stream,
            characters=characters,
        )
        setting = {
            "machine": machine(gpu_id),
            "versions": versions(),
            "threads": threads,
            "sources": setup.sources,
        }
        try:
            ratios.read_rows(output, setting)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        for name in wanted:
            try:
                if name in tables:
                    found = tables[name](setup)
                    ratios.save_table(output, setting, name, found)
                    if name == search.NAME:
                        search.plot(found, output.with_name(f"{name}.svg"))
                    typer.echo(f"{name}: {len(found)} rows")
                else:
                    row = ratios.row(name, known[name](setup))
                    ratios.save_row(output, setting, row)
                    typer.echo("{name}: {value} ({low} to {high}), limit {limit}".format(**row))
            except ratios.UnavailableError as error:
                typer.echo(f"{name}: not measured, {error}")


def physical_cores() -> int:
    """Cores that this process may use, those that share their arithmetic counted once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    files = [Path(siblings.format(number)) for number in os.sched_getaffinity(0)]
    return len({path.read_text() if path.exists() else str(path) for path in files})


def machine(gpu_id: int) -> dict[str, Any]:
    """What it was measured on."""
    import torch

    from spacy_btl.models.passes import cpu_has_bfloat16

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if "model name" in line), None)
    return {
        "device": "cpu" if gpu_id < 0 else torch.cuda.get_device_name(gpu_id),
        "processor": model or platform.processor() or platform.machine(),
        "cores": physical_cores(),
        "bfloat16": cpu_has_bfloat16(),
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Of what takes part, as far as it is installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version(), "spacy-btl": version("spacy-btl")}
    for name in (*PACKAGES, *OTHERS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    typer.run(main)
