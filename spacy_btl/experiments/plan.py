"""The cells of an experiment, each identified by a hash of its inputs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy import util
from thinc.api import Config

from spacy_btl.errors import FileError
from spacy_btl.experiments.config import Arm, Decoding, Experiment, Precision
from spacy_btl.experiments.folds import (
    divide_corpus,
    file_hash,
    folder_hash,
    short_hash,
    train_part,
)
from spacy_btl.models.passes import cpu_has_bfloat16

PARTS = ("train", "dev", "test")
PREDICTED = "predicted.jsonl"
# Raise this when the same config trains differently than before, by more than another seed does:
# it invalidates all earlier cells. The version of spacy-btl is in no key.
TRAINING_VERSION = 1


@dataclass(frozen=True)
class Network:
    """One training.

    name (str): A description for messages.
    key (str): The hash of its config, documents, encoder and precision.
    config (Config): Its `mixed_precision` agrees with `precision`.
    documents (Dict[str, Path]): The `.spacy` files of "train" and "dev".
    precision (str): Of the forward pass in training.
    threads (int): CPU threads.
    """

    name: str
    key: str
    config: Config
    documents: dict[str, Path]
    precision: Precision
    threads: int


@dataclass(frozen=True)
class Cell:
    """An arm on one fold with one seed, and its decodings.

    training (str): The hash of what the experiment file says: configs, fold, precision.
    material (str): The hash of its documents and the files of its encoders; empty in a plan
        without documents.
    networks (List[Network]): One network, or several to average. Cells may share them.
    ensemble (bool): Whether logits are averaged, not weights.
    documents (Dict[str, Path]): The `.spacy` files of "train", "dev" and "test".
    predicted (Optional[Path]): The folder of another library's predictions: nothing is trained.
    flat (bool): Whether these are entities, and not mentions that may overlap.
    """

    corpus: str
    arm: str
    fold: int
    seed: int
    training: str
    material: str
    networks: list[Network]
    ensemble: bool
    documents: dict[str, Path]
    decodings: dict[str, Decoding]
    predicted: Path | None
    flat: bool

    @property
    def key(self) -> str:
        """The hash of everything that determines its result."""
        return f"{self.training}-{self.material}"

    @property
    def name(self) -> str:
        """A description for messages."""
        return f"{self.corpus}, {self.arm}, fold {self.fold}, seed {self.seed}"

    @property
    def precision(self) -> Precision:
        """The precision of the forward pass in training, that of the first network."""
        return self.networks[0].precision

    @property
    def threads(self) -> int:
        """CPU threads."""
        return self.networks[0].threads


def counts_name(decoding: Decoding) -> str:
    """The name of the file with the counts per test document or patient of a decoding."""
    return f"counts-{short_hash(decoding.model_dump(exclude_defaults=True))}.npz"


def plan(
    experiment: Experiment, cache: Path, *, gpu: int = -1, documents: bool = True
) -> list[Cell]:
    """The cells of an experiment, in the order of their folds.

    Writes the folds to CACHE/corpora if they are missing.

    gpu (int): As for `spacy train`; -1 is the CPU.
    documents (bool): Whether to read the corpora and encoders. Without them, cells have no
        `material`: they can be looked up, but not trained.
    RAISES: BtlError, for a corpus or a config that cannot be used.
    """
    folders: dict[str, list[Path]] = {}
    if documents:
        for name in experiment.corpora:
            folders[name] = divide_corpus(experiment, name, cache / "corpora")
    cells = [
        _cell(experiment, corpus, name, fold, seed, gpu, folders)
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
                f"'{twin.name}' and '{cell.name}' are the same training. Merge them into one "
                "arm with the decodings of both."
            )
    return cells


def _cell(
    experiment: Experiment,
    corpus: str,
    name: str,
    fold: int,
    seed: int,
    gpu: int,
    folders: dict[str, list[Path]],
) -> Cell:
    arm = experiment.arms[name]
    each = arm.ensemble or arm.average
    known = {**experiment.overrides, **experiment.of_corpora.get(corpus, {}), **arm.overrides}
    configs = [_config(experiment.config, {**known, **more}, seed) for more in each]
    _check_pipes(experiment, name, configs)
    precision = [_set_precision(config, arm, experiment, gpu) for config in configs]
    threads = arm.threads or experiment.threads
    split = [experiment.folds, experiment.dev, experiment.split_seed]
    place = [TRAINING_VERSION, corpus, fold, arm.train_share, *split]
    predicted = arm.predicted and arm.predicted / corpus / f"fold-{fold}"
    if predicted:
        place += [predicted.as_posix(), *(["flat"] if arm.flat else [])]
    made_of = [
        [*place, _content(config), used, threads, gpu >= 0]
        for config, used in zip(configs, precision, strict=True)
    ]
    documents = {}
    if folders:
        names = {part: train_part(arm.train_share) if part == "train" else part for part in PARTS}
        documents = {part: folders[corpus][fold] / f"{names[part]}.spacy" for part in PARTS}
    hashes = [file_hash(path) for path in documents.values()]
    if predicted and folders and (predicted / PREDICTED).is_file():
        hashes.append(file_hash(predicted / PREDICTED))
    encoders = [folder_hash(_encoder(config)) if folders else "" for config in configs]
    networks = [
        Network(
            name=f"{corpus}, {name}, fold {fold}, seed {seed}",
            key=short_hash([made, hashes, encoder]),
            config=config,
            documents={part: path for part, path in documents.items() if part != "test"},
            precision=used,
            threads=threads,
        )
        for made, encoder, config, used in zip(made_of, encoders, configs, precision, strict=True)
    ]
    ensemble = bool(arm.ensemble)
    return Cell(
        corpus=corpus,
        arm=name,
        fold=fold,
        seed=seed,
        training=short_hash([made_of, ensemble]),
        material=short_hash([hashes, encoders]) if folders else "",
        networks=networks,
        ensemble=ensemble,
        documents=documents,
        decodings={key: experiment.decodings[key] for key in arm.decodings},
        predicted=predicted,
        flat=arm.flat,
    )


def _config(path: Path, overrides: dict[str, Any], seed: int) -> Config:
    try:
        config = util.load_config(path, overrides={**overrides, "system.seed": seed})
        resolved = config.interpolate()
    except (OSError, ValueError) as error:
        raise FileError(f"{path}: cannot be used as the config: {error}") from None
    if (resolved.get("training", {}).get("max_steps") or 0) < 1:
        raise FileError(
            f"{path}: max_steps is not set. An experiment needs it, so that all arms "
            "are trained for the same number of steps."
        )
    missing = {"transformer", "ner"} - set(resolved.get("nlp", {}).get("pipeline", []))
    if missing:
        raise FileError(
            f"{path}: the pipeline has no {' and no '.join(sorted(missing))}. An "
            "experiment compares pipes named ner over a transformer."
        )
    return config


def _check_pipes(experiment: Experiment, name: str, configs: list[Config]) -> None:
    arm = experiment.arms[name]
    with_logits = {_has_logits(config) and not arm.predicted for config in configs}
    if len(with_logits) > 1:
        raise FileError(f"'{name}' averages a btl_ner with another pipe, which is not possible.")
    if with_logits == {False}:
        if arm.ensemble:
            raise FileError(f"'{name}' cannot be an ensemble: it has no logits to average.")
        settings = sorted(d for d in arm.decodings if experiment.decodings[d] != Decoding())
        if settings:
            raise FileError(
                f"'{settings[0]}' cannot decode '{name}', which is no btl_ner and has no logits. "
                "Give it a decoding without settings."
            )


def _has_logits(config: Config) -> bool:
    ner = config.get("components", {}).get("ner", {})
    return ner.get("factory", "btl_ner") == "btl_ner"  # a sourced pipe is assumed to be one


def _set_precision(config: Config, arm: Arm, experiment: Experiment, gpu: int) -> Precision:
    """Resolve `mixed_precision` to a precision, and update the config to agree with it."""
    transformer = config.interpolate().get("components", {}).get("transformer", {})
    if not transformer.get("model", {}).get("mixed_precision"):
        return "float32"
    precision = arm.precision or experiment.precision or _mixed_precision(gpu)
    config["components"]["transformer"]["model"]["mixed_precision"] = precision != "float32"
    return precision


def _mixed_precision(gpu: int) -> Precision:
    if gpu >= 0:
        return "float16"
    return "bfloat16" if cpu_has_bfloat16() else "float32"


def _content(config: Config) -> str:
    """The content of a config with its variables filled in."""
    return json.dumps(config.interpolate(), sort_keys=True)


def _encoder(config: Config) -> Path:
    """The folder of a local encoder; an empty path for an encoder given by name."""
    return Path(config.interpolate().get("paths", {}).get("encoder") or "")
