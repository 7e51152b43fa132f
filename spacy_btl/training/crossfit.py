"""Cross-fitting: logits of every document by a network that was not trained on it.

The corpus is divided into folds, by document or patient, with copies of one text together; a
network is trained on all folds but one and read on that one. A network is overconfident on
documents that it trained on, so a datastore of held-out logits is closer to those of new notes.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy import util
from spacy.tokens import Doc
from spacy.training import Corpus
from spacy.vocab import Vocab
from thinc.api import Config, ConfigValidationError

from spacy_btl.arrays import load_arrays, save_arrays
from spacy_btl.calibration.calibrator import Neighbors
from spacy_btl.calibration.datastore import concatenate_rows
from spacy_btl.calibration.held_out import HeldOut, concatenate
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.corpora.groups import warn_of_copies
from spacy_btl.errors import CalibratorError, PipelineError
from spacy_btl.files import write_file
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.pipeline.logits import find_ner
from spacy_btl.pipeline.reading import read_held_out
from spacy_btl.pipelines import load_pipeline
from spacy_btl.splits.split import divide
from spacy_btl.training.subprocess import spacy_train

HELD_OUT = "held-out.safetensors"


@dataclass(frozen=True)
class CrossFit:
    """How the networks of the folds are trained.

    config (Path): The training config. It reads its training documents from `paths.train`.
    overrides (Dict[str, Any]): Dotted names of the config and their values.
    folds (int): How many networks; at least 2.
    gpu (int): As for `spacy train`; -1 is the CPU.
    threads (Optional[int]): CPU threads of the training.
    """

    config: Path
    overrides: dict[str, Any]
    folds: int = 3
    gpu: int = -1
    threads: int | None = None


def fit_crossfit(pipe: KnnCalibrator, ner: BtlNer, corpus: Path, how: CrossFit, work: Path) -> None:
    """Fit a calibrator and its maps to logits of networks that were not trained on the documents.

    ner (BtlNer): The pipe of the pipeline to calibrate; the others get its entity types.
    corpus (Path): The `.spacy` file. The datastore's documents are numbered as in it.
    work (Path): The folder for what an interrupted run leaves; a run of the same corpus and
        settings continues from there.
    RAISES: BtlError, for a corpus or a config that cannot be used, or a training that fails.
    """
    parts = read_folds(corpus, ner, how, work)
    calibrator = pipe.calibrator
    rows = [part.rows() for part in parts]
    found: list[Neighbors] = []
    for i, part in enumerate(parts if calibrator.settings.knn_weight else []):
        pipe.fit_rows(concatenate_rows([*rows[:i], *rows[i + 1 :]]))
        found.append(calibrator.neighbors(part.logits[part.seen]))
    pipe.fit_rows(concatenate_rows(rows))
    neighbors = Neighbors(*map(np.concatenate, zip(*found, strict=True))) if found else None
    calibrator.fit_maps(concatenate(parts), neighbors)


def read_folds(corpus: Path, ner: BtlNer, how: CrossFit, work: Path) -> list[HeldOut]:
    """Read each fold of a corpus by a network that was trained on the other folds.

    RAISES: As `fit_crossfit`.
    """
    if how.folds < 2:
        raise CalibratorError(f"{how.folds} folds: there must be at least 2.")
    docs = [doc for doc in read_docs(corpus, Vocab()) if len(doc)]  # as spaCy reads a corpus
    warn_of_copies(docs, corpus)
    config = _config(how, ner, work)
    folds = divide(docs, [1 / how.folds] * how.folds, seed=0)
    made_of = [config.to_str(), ner.labels, hashlib.sha256(corpus.read_bytes()).hexdigest()]
    _start_or_go_on(work, json.dumps([*made_of, folds.tolist()]))
    for fold in range(how.folds):
        if not (work / f"fold-{fold}" / HELD_OUT).is_file():
            _run_fold(docs, folds == fold, config, ner, how, work / f"fold-{fold}")
    return [_load(work / f"fold-{fold}" / HELD_OUT) for fold in range(how.folds)]


def _config(how: CrossFit, ner: BtlNer, work: Path) -> Config:
    """The config of every fold, with the entity types of the pipeline to calibrate: those that
    are missing from a fold must have their columns all the same."""
    if not how.config.is_file():
        raise PipelineError(f"{how.config}: no such file. Give the config of the training.")
    try:
        config = util.load_config(how.config, overrides=how.overrides, interpolate=False)
    except (ConfigValidationError, ValueError) as error:
        raise PipelineError(f"{how.config}: cannot be used ({error}).") from error
    reader = {"@readers": "spacy.read_labels.v1", "path": str(work / "labels.json")}
    components = config.setdefault("initialize", {}).setdefault("components", {})
    components.setdefault(ner.name, {})["labels"] = reader
    return config


def _start_or_go_on(work: Path, made_of: str) -> None:
    """Empty the work folder unless it is of the same corpus and settings."""
    file = work / "made-of.json"
    if file.is_file() and file.read_text("utf-8") == made_of:
        return
    shutil.rmtree(work, ignore_errors=True)
    write_file(file, made_of.encode("utf-8"))


def _run_fold(
    docs: Sequence[Doc],
    read: NDArray[np.bool_],
    config: Config,
    ner: BtlNer,
    how: CrossFit,
    folder: Path,
) -> None:
    """Train on the other folds, read the docs of this one, and keep their arrays."""
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    write_docs(part / "train.spacy", compress(docs, ~read))
    write_docs(part / "read.spacy", compress(docs, read))
    write_file(folder.parent / "labels.json", json.dumps(ner.labels).encode("utf-8"))
    _train(config, part, how)
    nlp = load_pipeline(str(part / "model-last"))
    fold_ner = find_ner(nlp, ner.name, reader="cross-fitting")
    corpus = part / "read.spacy"
    examples = Corpus(corpus).make_examples(nlp, read_docs(corpus, nlp.vocab))
    held_out = read_held_out(nlp, examples, ner=fold_ner, reader="cross-fitting", strict=True)
    numbers = np.flatnonzero(read).astype("int32")
    held_out = replace(held_out, documents=numbers[held_out.documents])
    arrays = {field.name: getattr(held_out, field.name) for field in fields(HeldOut)}
    write_file(part / HELD_OUT, save_arrays(arrays, {}))
    for name in ("model-last", "model-best"):
        shutil.rmtree(part / name, ignore_errors=True)
    part.rename(folder)


def _train(config: Config, folder: Path, how: CrossFit) -> None:
    """Run `spacy train` on FOLDER/train.spacy."""
    file, log = folder / "config.cfg", folder / "train.log"
    config.to_disk(file, interpolate=False)
    paths = {"train": folder / "train.spacy"}
    if not config.get("paths", {}).get("dev"):
        paths["dev"] = paths["train"]  # spaCy wants something to score, and nothing is chosen
    went_well, _ = spacy_train(file, folder, log, paths=paths, gpu=how.gpu, threads=how.threads)
    if not went_well:
        raise PipelineError(
            f"The training of a fold failed: {log} says why. The finished folds "
            "are kept: run the command again to go on from there."
        )


def _load(file: Path) -> HeldOut:
    arrays, _ = load_arrays(file.read_bytes())
    return HeldOut(**arrays)
