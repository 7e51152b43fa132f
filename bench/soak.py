"""A soak run: 100,000 short notes with a tiny encoder through `annotate`, some of them poison, once
undisturbed and once with three SIGKILLs. Both must write the same bytes.

    python -m bench.soak

Every good note has to be annotated once, every bad one listed, and memory must not grow. It exits
with an error where that is not so. torch keeps what it prepared for each shape of a batch, up to a
thousand of them and some 40 MB; here it keeps a few, so that what grows is ours.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import typer
from spacy.language import Language
from spacy.tokens import Doc, DocBin

from spacy_btl.cli import btl
from spacy_btl.training.calibrate import calibrate
from tests.conftest import SENTENCES, bert_pipeline, make_examples, make_tiny_bert, train

POISON = "arsenic"
SHARE = 0.01  # of the notes
TOO_LONG = 2  # notes
KILLS = (0.2, 0.5, 0.8)
PART_SIZE = 500
FEW_SHAPES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "16"}
GROWTH = 1.05  # of the peak of memory, from a tenth of the notes to all of them


@Language.component("poison")
def poison(doc: Doc) -> Doc:
    """Fail as a bug in somebody's pipe would."""
    if POISON in doc.text:
        raise ValueError("a pipe that fails")
    return doc


def make_model(folder: Path) -> Path:
    """A calibrated pipeline with a tiny encoder and a pipe that fails on some notes."""
    nlp = train(bert_pipeline(make_tiny_bert(folder / "bert")))
    nlp.to_disk(folder / "trained")
    docs = [example.reference for example in make_examples(nlp)]
    DocBin(docs=docs).to_disk(folder / "train.spacy")
    model = folder / "model"
    settings = {"n_neighbors": 3}
    nlp = calibrate(str(folder / "trained"), folder / "train.spacy", model, settings=settings)
    nlp.add_pipe("poison", last=True)
    nlp.to_disk(model)
    return model


def write_notes(path: Path, n_notes: int) -> list[int]:
    """Write the notes as JSON lines. RETURNS: The ids of those that are poison."""
    choice = random.Random(0)
    bad = sorted(choice.sample(range(n_notes), round(n_notes * SHARE)))
    kinds: list[object] = [None, 7, "\ud800", f"given {POISON} daily"]
    poisonous: dict[int, object] = {note: kinds[number % 4] for number, note in enumerate(bad)}
    poisonous.update(dict.fromkeys(bad[:TOO_LONG], "fever " * 200_000))
    with path.open("w", encoding="ascii") as file:
        for note in range(n_notes):
            sentences = choice.choices([text for text, _ in SENTENCES], k=choice.randint(1, 4))
            text = poisonous.get(note, " . ".join(sentences))
            file.write(json.dumps({"id": note, "text": text}) + "\n")
    return bad


def start(model: Path, notes: Path, output: Path) -> subprocess.Popen[bytes]:
    """The command, in a process that knows the pipe that fails."""
    options = ("--part-size", str(PART_SIZE))
    command = ["annotate", *map(str, (model, notes, output)), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "bench.soak", "--command", *command],
        stdout=subprocess.DEVNULL,
        env={**os.environ, **FEW_SHAPES},
    )


def done(output: Path) -> int:
    """The notes that are done so far."""
    folder = output.with_name(f"{output.name}.parts") / "done"
    return PART_SIZE * len(list(folder.glob("*.json")))


def peak_memory(process: subprocess.Popen[bytes]) -> int:
    """The most memory that a process has held so far, in kB."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line), 0)


def wait(process: subprocess.Popen[bytes], until: Callable[[], bool] = lambda: False) -> int:
    """Wait for a process to end, or for something else. RETURNS: The peak of its memory, in kB."""
    peak = 0
    while process.poll() is None and not until():
        peak = max(peak, peak_memory(process))
        time.sleep(0.05)
    return peak


def files(folder: Path) -> dict[str, bytes]:
    """The files of an output with their bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def check(claim: str, holds: bool) -> None:
    """Print a claim, and end if it does not hold."""
    typer.echo(f"{'ok  ' if holds else 'FAIL'} {claim}")
    if not holds:
        sys.exit(1)


def main(n_notes: int) -> None:
    """Run it twice and compare."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model, notes = make_model(folder), folder / "notes.jsonl"
        bad = write_notes(notes, n_notes)
        whole, cut = folder / "whole.parquet", folder / "cut.parquet"

        begin = time.perf_counter()
        process = start(model, notes, whole)
        early = wait(process, lambda: done(whole) >= n_notes / 10)
        late = max(early, wait(process))
        seconds = time.perf_counter() - begin
        check(f"undisturbed run ends well, {n_notes / seconds:.0f} notes/s", process.wait() == 0)
        claim = f"memory: {early / 1024:.0f} MiB after a tenth, {late / 1024:.0f} MiB at the end"
        check(claim, 0 < late <= GROWTH * early)

        for share in KILLS:
            process = start(model, notes, cut)
            wait(process, lambda share=share: done(cut) >= share * n_notes)  # type: ignore[misc]
            time.sleep(random.Random(share).random())
            process.send_signal(signal.SIGKILL)
            check(f"killed at {done(cut)} notes", process.wait() == -signal.SIGKILL)
        check("restarted run ends well", start(model, notes, cut).wait() == 0)
        check("its output is that of the undisturbed run", files(cut) == files(whole))

        errors = cut.with_name(f"{cut.name}.errors.jsonl").read_text(encoding="utf-8")
        listed = [json.loads(line) for line in errors.splitlines()]
        check(f"all {len(bad)} bad notes are listed", [row["note_id"] for row in listed] == bad)
        typer.echo(f"     {dict(Counter(row['reason'] for row in listed))}")
        manifest = json.loads(cut.with_name(f"{cut.name}.manifest.json").read_text())
        entities = sum(manifest["entities"].values())
        check(f"all {manifest['notes']} notes are accounted for", manifest["notes"] == n_notes)
        check(f"{entities} entities, none of them twice", entities == count_places(cut) > 0)


def count_places(output: Path) -> int:
    """How many different entities an output holds."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(output, columns=["note_id", "start", "end", "label"])
    return len(table.group_by(table.column_names).aggregate([]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--command"]:
        btl(sys.argv[2:])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
