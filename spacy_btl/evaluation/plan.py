"""What an experiment comes to: its folds on disk, and its cells, each named by what makes it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy import util
from spacy.vocab import Vocab
from thinc.api import Config

from spacy_btl.about import __version__
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.corpora.split import divide, split_corpus
from spacy_btl.errors import FileError
from spacy_btl.evaluation.experiment import SHARES, Decoding, Experiment

PARTS = ("train", "dev", "test")


@dataclass(frozen=True)
class Network:
    """One training.

    name (str): For a person to read.
    key (str): The hash of all that makes it: config, documents, encoder, version of spacy-btl.
    documents (Dict[str, Path]): The `.spacy` files of "train" and "dev".
    """

    name: str
    key: str
    config: Config
    documents: dict[str, Path]


@dataclass(frozen=True)
class Cell:
    """What an arm makes of a fold with a seed, and what is read from it.

    key (str): The hash of all that makes it: configs, documents, encoder, version of spacy-btl.
    networks (List[Network]): The one that is read; or several, if their average is. Cells may
        share them.
    ensemble (bool): Whether it is the average of their logits, and not of their weights.
    documents (Dict[str, Path]): The `.spacy` files of "train", "dev" and "test".
    """

    corpus: str
    arm: str
    fold: int
    seed: int
    key: str
    networks: list[Network]
    ensemble: bool
    documents: dict[str, Path]
    decodings: dict[str, Decoding]

    @property
    def name(self) -> str:
        """For a person to read."""
        return f"{self.corpus}, {self.arm}, fold {self.fold}, seed {self.seed}"


def counts_name(decoding: Decoding) -> str:
    """The file of the counts per test document, or patient, of a cell by a decoding."""
    return f"counts-{_hash(decoding.model_dump(exclude_defaults=True))}.npz"


def plan(experiment: Experiment, cache: Path) -> list[Cell]:
    """The cells of an experiment, fold by fold, so that every arm gets on alike.

    Writes the folds under CACHE/corpora.

    RAISES: BtlError, for a corpus or a config that cannot be used.
    """
    folders = {name: _divide(experiment, name, cache / "corpora") for name in experiment.corpora}
    cells = [
        _cell(experiment, corpus, name, fold, seed, folders[corpus][fold])
        for seed in experiment.seeds
        for fold in range(experiment.folds)
        for corpus in experiment.corpora
        for name, arm in experiment.arms.items()
        if arm.folds is None or fold in arm.folds
    ]
    made: dict[str, Cell] = {}
    for cell in cells:
        twin = made.setdefault(cell.key, cell)
        if twin is not cell:
            raise FileError(
                f"These are the same training: '{twin.name}' and '{cell.name}'. Make them one, "
                "with the decodings of both."
            )
    return cells


def _divide(experiment: Experiment, corpus: str, cache: Path) -> list[Path]:
    """One folder per fold with train, dev and test documents, and smaller parts of train."""
    made_of = [
        _file_hash(experiment.corpora[corpus]),
        experiment.folds,
        experiment.dev,
        experiment.split_seed,
    ]
    folder = cache / _hash(made_of)
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


def _cut_training_set(fold: Path, seed: int) -> None:
    docs = read_docs(fold / "train.spacy", Vocab())
    steps = [share - before for share, before in zip(SHARES, (0, *SHARES[:-1]), strict=True)]
    parts = divide(docs, steps, seed=seed)
    for number, share in enumerate(SHARES[:-1]):
        kept = [doc for doc, part in zip(docs, parts, strict=True) if part <= number]
        write_docs(fold / f"train-{share:g}.spacy", kept)


def _cell(
    experiment: Experiment, corpus: str, name: str, fold: int, seed: int, folder: Path
) -> Cell:
    arm = experiment.arms[name]
    each = arm.ensemble or arm.average
    configs = [_config(experiment, {**arm.overrides, **more}, seed) for more in each]
    decodings = {key: experiment.decodings[key] for key in arm.decodings}
    with_logits = {_has_logits(config) for config in configs}
    if len(with_logits) > 1:
        raise FileError(f"'{name}' averages a btl_ner with another pipe, which cannot be done.")
    if with_logits == {False}:
        if arm.ensemble:
            raise FileError(f"'{name}' cannot be an ensemble: its ner has no logits to average.")
        settings = sorted(key for key, how in decodings.items() if how != Decoding())
        if settings:
            raise FileError(
                f"'{settings[0]}' cannot read '{name}', whose ner is no btl_ner: there are no "
                "logits, so it can have a decoding without settings only."
            )
    train = "train" if arm.train_share == 1 else f"train-{arm.train_share:g}"
    documents = {part: folder / f"{train if part == 'train' else part}.spacy" for part in PARTS}
    hashes = {part: _file_hash(path) for part, path in documents.items()}
    encoders = [_encoder_hash(config) for config in configs]
    made_of = [__version__, json.dumps(configs, sort_keys=True), hashes, encoders]
    made_of += ["ensemble"] if arm.ensemble else []
    read = {part: path for part, path in documents.items() if part != "test"}
    networks = [
        Network(
            name=f"{corpus}, {name}, fold {fold}, seed {seed}",
            key=_hash([__version__, json.dumps(config, sort_keys=True), hashes, encoder]),
            config=config,
            documents=read,
        )
        for config, encoder in zip(configs, encoders, strict=True)
    ]
    ensemble = bool(arm.ensemble)
    return Cell(corpus, name, fold, seed, _hash(made_of), networks, ensemble, documents, decodings)


def _config(experiment: Experiment, overrides: dict[str, Any], seed: int) -> Config:
    overrides = {**experiment.overrides, **overrides, "system.seed": seed}
    try:
        config = util.load_config(experiment.config, overrides=overrides)
        resolved = config.interpolate()
    except (OSError, ValueError) as error:
        raise FileError(f"{experiment.config}: cannot be used as the config: {error}") from None
    if (resolved.get("training", {}).get("max_steps") or 0) < 1:
        raise FileError(
            f"{experiment.config}: max_steps is not set. An experiment needs it, so that its arms "
            "are trained for equally long."
        )
    missing = {"transformer", "ner"} - set(resolved.get("nlp", {}).get("pipeline", []))
    if missing:
        raise FileError(
            f"{experiment.config}: the pipeline has no {' and no '.join(sorted(missing))}. An "
            "experiment compares pipes called ner, over a transformer."
        )
    return config


def _has_logits(config: Config) -> bool:
    ner = config.get("components", {}).get("ner", {})
    return ner.get("factory", "btl_ner") == "btl_ner"  # one with a source is taken for ours


def _encoder_hash(config: Config) -> str:
    """The files of a local encoder; nothing for one that has a name only."""
    folder = Path(config.interpolate().get("paths", {}).get("encoder") or "")
    files = sorted(folder.glob("*")) if folder.name and folder.is_dir() else []
    return _hash([_file_hash(file) for file in files if file.is_file()])


def _file_hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from None


def _hash(made_of: Any) -> str:
    return hashlib.sha256(json.dumps(made_of).encode("utf-8")).hexdigest()[:16]
