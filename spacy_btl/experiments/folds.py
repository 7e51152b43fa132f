"""The folds of an experiment on disk, and hashes of the files that a training reads."""

import hashlib
import json
from pathlib import Path
from typing import Any

from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import FileError
from spacy_btl.experiments.config import SHARES, Experiment
from spacy_btl.splits.split import divide, split_corpus


def divide_corpus(experiment: Experiment, corpus: str, cache: Path) -> list[Path]:
    """Write a folder for each fold with its train, dev and test documents and smaller train sets.

    Files of an earlier call are kept.

    RAISES: BtlError, for a corpus that cannot be divided so.
    """
    made_of = [
        file_hash(experiment.corpora[corpus]),
        experiment.folds,
        experiment.dev,
        experiment.split_seed,
    ]
    folder = cache / short_hash(made_of)
    if not (folder / "split.json").is_file():
        split_corpus(
            experiment.corpora[corpus],
            folder,
            dev=experiment.dev,
            folds=experiment.folds,
            seed=experiment.split_seed,
        )
    folds = [folder / f"fold-{i}" for i in range(experiment.folds)]
    if any(arm.train_share < 1 for arm in experiment.arms.values()):
        for fold in folds:
            _cut_training_set(fold, experiment.split_seed)
    return folds


def train_part(share: float) -> str:
    """The file name of a share of the training documents, without its suffix."""
    return "train" if share == 1 else f"train-{share:g}"


def _cut_training_set(fold: Path, seed: int) -> None:
    if all((fold / f"{train_part(share)}.spacy").is_file() for share in SHARES):
        return
    docs = read_docs(fold / "train.spacy", Vocab())
    steps = [share - before for share, before in zip(SHARES, (0, *SHARES[:-1]), strict=True)]
    parts = divide(docs, steps, seed=seed)
    for number, share in enumerate(SHARES[:-1]):
        kept = [doc for doc, part in zip(docs, parts, strict=True) if part <= number]
        write_docs(fold / f"{train_part(share)}.spacy", kept)


def folder_hash(folder: Path) -> str:
    """The hash of the files in a folder; a missing folder counts as empty."""
    files = sorted(folder.glob("*")) if folder.name and folder.is_dir() else []
    return short_hash([file_hash(file) for file in files if file.is_file()])


def file_hash(path: Path) -> str:
    """The SHA-256 of a file. RAISES: FileError, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from None


def short_hash(made_of: Any) -> str:
    """The hash of a JSON-serializable object: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(made_of).encode("utf-8")).hexdigest()[:16]
