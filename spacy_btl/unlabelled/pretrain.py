"""Continue the pretraining of an encoder on notes without annotation.

The state of a run is in OUTPUT.pretraining, from which the same command goes on:

    identity.json     the notes, the encoder and the options: another run does not go on from it
    checkpoint-300/   as transformers' Trainer writes it

It is removed when OUTPUT is written.
"""

import importlib.util
import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from math import ceil
from pathlib import Path
from typing import Any

import torch

from spacy_btl.about import __version__, how_to_install
from spacy_btl.errors import FileError, PipelineError
from spacy_btl.files import whole_folder, write_file
from spacy_btl.models.checkpoint import load_masked_language_model
from spacy_btl.models.encoder import TOKENIZER_DEFAULTS
from spacy_btl.models.names import check_name
from spacy_btl.models.supported import positions
from spacy_btl.models.wordpieces import WordpieceTokenizer
from spacy_btl.notes.notes import read_notes, scan_notes
from spacy_btl.unlabelled.loop import Evaluation, Listener, Options, train
from spacy_btl.unlabelled.windows import HiddenWords, windows_of

RECORD = "pretraining.json"
HELD_OUT, MOST = 20, 200  # one note of so many is held out, and so many at most
FEWEST = 2
ACCELERATE = "accelerate"  # which Trainer needs


@dataclass(frozen=True)
class Pretraining:
    """What was done.

    notes (int): Notes with a text.
    skipped (int): Notes without one.
    held_out (int): Notes that were held out, and not learned.
    wordpieces (int): Those of the others, the special ones of windows included.
    evaluations (List[Evaluation]): In their order, the first before the first step.
    best (Evaluation): That of the encoder that was written.
    """

    notes: int
    skipped: int
    held_out: int
    wordpieces: int
    evaluations: list[Evaluation]
    best: Evaluation


def pretrain_encoder(
    notes: Path,
    encoder: str,
    output: Path,
    options: Options = Options(),
    listener: Listener = Listener(),
) -> Pretraining:
    """Train an encoder to guess hidden words of notes (Gururangan et al. 2020, arXiv 2004.10964).

    notes (Path): See `read_notes`.
    encoder (str): A folder, or a name of the Hugging Face hub.
    output (Path): The folder of the new encoder, for `paths.encoder` of a config or `--encoder` of
        `fit`. It holds the weights with the head that guesses, and `pretraining.json`.
    listener (Listener): Is told of steps and evaluations.
    RAISES: BtlError, for notes or an encoder that cannot be used, the state of another run, or if
        accelerate is not installed.

    >>> from spacy_btl import pretrain_encoder
    >>> done = pretrain_encoder(Path("unlabelled"), "encoder", Path("adapted"))
    >>> done.best == min(done.evaluations, key=lambda evaluation: evaluation.perplexity)
    True
    """
    _require_accelerate()
    _refuse_foreign(output)
    check_name(encoder)
    found = list(read_notes(notes, text_column=options.text_column, id_column=options.id_column))
    summary = scan_notes(iter(found), notes)
    texts = [note.text for note in found if note.text and not note.text.isspace()]
    if len(texts) < FEWEST:
        raise PipelineError(f"{notes}: give at least {FEWEST} notes with a text to learn from.")
    state = output.with_name(f"{output.name}.pretraining")
    _claim(state, {"notes": summary.fingerprint, "encoder": encoder, **asdict(options)})
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)  # for the head, if it is new
        tokenizer, model = load_masked_language_model(encoder, TOKENIZER_DEFAULTS, {})
    order = random.Random(options.seed).sample(texts, len(texts))
    n_held_out = min(MOST, max(1, len(texts) // HELD_OUT))
    wordpieces = WordpieceTokenizer.from_fast(tokenizer, reads_types=False)
    window = min(options.window, positions(model) or options.window)

    def hidden(part: Sequence[str], times: int) -> HiddenWords:
        windows = list(windows_of(part, wordpieces, window))
        return HiddenWords(windows, tokenizer, options.masking, options.seed, times)

    held_out, learned = (
        hidden(order[:n_held_out], 1),
        hidden(order[n_held_out:], ceil(options.epochs)),
    )
    evaluations = train(model, learned, held_out, options, state, listener)
    done = Pretraining(
        notes=len(texts),
        skipped=len(found) - len(texts),
        held_out=n_held_out,
        wordpieces=sum(len(row["input_ids"]) for row in learned.windows),
        evaluations=evaluations,
        best=min(evaluations, key=lambda evaluation: evaluation.perplexity),
    )
    with whole_folder(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        write_file(folder / RECORD, _record(encoder, options, done))
    shutil.rmtree(state)
    return done


def _refuse_foreign(output: Path) -> None:
    taken = output.is_file() or (output.is_dir() and any(output.iterdir()))
    if taken and not (output / RECORD).is_file():
        raise FileError(f"{output} exists, and is no encoder of `pretrain`: give another name.")


def _require_accelerate() -> None:
    if importlib.util.find_spec(ACCELERATE) is None:
        raise PipelineError(
            f"The package {ACCELERATE} is not installed, and transformers trains with it. Get it "
            f"{how_to_install('pretrain')}."
        )


def _claim(state: Path, identity: dict[str, Any]) -> None:
    """Make the folder of the state, or check that it is of the same run.

    RAISES: FileError, if it is of another one.
    """
    file = state / "identity.json"
    if not file.is_file():
        write_file(file, json.dumps(identity, indent=2).encode("utf-8"))
        return
    before = json.loads(file.read_text("utf-8"))
    changed = [name for name in identity if before.get(name) != identity[name]]
    if changed:
        raise FileError(
            f"{state}: an earlier run was stopped, and had another {', '.join(changed)}. Give what "
            "it had to go on, delete the folder to start again, or give another output."
        )


def _record(encoder: str, options: Options, done: Pretraining) -> bytes:
    settings = {**asdict(options), "encoder": encoder, "spacy_btl": __version__}
    settings |= {name: version(name) for name in ("transformers", "torch")}
    found = asdict(done) | {"evaluations": [one._asdict() for one in done.evaluations]}
    found["best"] = done.best._asdict()
    return (json.dumps({**settings, **found}, indent=2) + "\n").encode("utf-8")
