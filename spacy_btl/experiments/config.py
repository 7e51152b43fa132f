"""The experiment file: corpora x arms x folds x seeds, and their decodings."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.errors import FileError
from spacy_btl.files import read_yaml

# The shares of the training documents that an arm can use; each contains the smaller ones.
SHARES = (0.25, 0.5, 1.0)

# float16 needs a GPU, bfloat16 a CPU that supports it.
Precision = Literal["float32", "bfloat16", "float16"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Decoding(_Strict):
    """How entities are read from the logits of a trained network. With the default, the entities
    of a `ner` without logits are used unchanged.

    calibrator (Dict[str, Any]): Settings of a `knn_calibrator`. The default is the argmax.
    fit_on (str): The documents of its datastore: "train" or "dev". With "crossfit", the datastore
        and the maps are fitted to the training documents as networks read them that did not train
        on them.
    map_on_dev (bool): Whether its maps are fitted on the dev documents.
    tune (bool): Whether to tune `knn_weight`, `tau` and `transition_weight` on the dev documents,
        as `python -m spacy btl tune` does. The maps are then fitted too.
    """

    calibrator: dict[str, Any] = {"knn_weight": 0.0, "transition_weight": 0.0, "tau": 0.0}
    fit_on: Literal["train", "dev", "crossfit"] = "train"
    map_on_dev: bool = False
    tune: bool = False


class Arm(_Strict):
    """A way of training a pipe named `ner`. A pipe other than `btl_ner`, such as spaCy's own, has
    no logits and needs the default decoding.

    overrides (Dict[str, Any]): Dotted names of the config and their values.
    average (List[Dict[str, Any]]): Further overrides, one dict for each network whose weights are
        averaged. The default is a single network.
    ensemble (List[Dict[str, Any]]): Used instead of `average` to average logits, not weights.
    decodings (List[str]): The names of its decodings.
    folds (Optional[List[int]]): The folds to run; all by default.
    train_share (float): The share of the training documents to use: 0.25, 0.5 or 1.
    precision (Optional[str]): Replaces the experiment's.
    threads (Optional[int]): Replaces the experiment's.
    predicted (Optional[Path]): A folder of another library's predictions, which are read in place
        of a training: CORPUS/fold-N/predicted.jsonl, and cost.json beside it.
    flat (bool): Whether these predictions are entities, one type per token, and are scored as those
        of the other arms are. The default is mentions that may overlap.
    """

    overrides: dict[str, Any] = {}
    average: list[dict[str, Any]] = Field(default=[{}], min_length=1)
    ensemble: list[dict[str, Any]] = []
    decodings: list[str]
    folds: list[int] | None = None
    train_share: float = 1.0
    precision: Precision | None = None
    threads: PositiveInt | None = None
    predicted: Path | None = None
    flat: bool = False


class Experiment(_Strict):
    """The content of an experiment file.

    corpora (Dict[str, Path]): The `.spacy` files to divide, by name.
    folds (int): The number of folds; every document is tested in one.
    dev (float): The share of the training documents to use as dev documents.
    split_seed (int): The random seed of the folds.
    seeds (List[int]): The random seeds that every arm is trained with.
    config (Path): The training config of all arms.
    overrides (Dict[str, Any]): Dotted names of the config and their values, for all arms.
    of_corpora (Dict[str, Dict[str, Any]]): The same for the arms on some corpora, by their name.
    decodings (Dict[str, Decoding]): By name.
    arms (Dict[str, Arm]): By name.
    baseline (Tuple[str, str]): The arm and decoding to compare the others with.
    precision (Optional[str]): The precision of `mixed_precision` in the config. The default is
        float16 on a GPU, and bfloat16 on a CPU that supports it. It is part of a cell's key.
    threads (int): CPU threads of each training, also part of the key.
    """

    title: str
    corpora: dict[str, Path]
    folds: PositiveInt = Field(ge=2)
    dev: float = 0.1
    split_seed: int = 0
    seeds: list[int] = [0]
    config: Path
    overrides: dict[str, Any] = {}
    of_corpora: dict[str, dict[str, Any]] = {}
    decodings: dict[str, Decoding]
    arms: dict[str, Arm]
    baseline: tuple[str, str]
    precision: Precision | None = None
    threads: PositiveInt = 1


def read_experiment(path: Path) -> Experiment:
    """Read and check an experiment file.

    RAISES: FileError, for a file that is missing, no YAML, or no experiment.
    """
    experiment = read_yaml(path, Experiment, "experiment file")
    _check_names(experiment, path)
    return experiment


def _check_names(experiment: Experiment, path: Path) -> None:
    for name, how in experiment.decodings.items():
        try:
            Calibrator(**how.calibrator)
        except (TypeError, ValueError) as error:
            raise FileError(f"{path}: the calibrator of '{name}' cannot be made: {error}") from None
        if how.fit_on == "dev" and (how.map_on_dev or how.tune):
            raise FileError(f"{path}: '{name}' is fitted on dev, so no maps can be fitted on it.")
    for name, arm in experiment.arms.items():
        _check_arm(name, arm, experiment, path)
    arm_name, decoding = experiment.baseline
    if arm_name not in experiment.arms or decoding not in experiment.arms[arm_name].decodings:
        raise FileError(f"{path}: there is no baseline {arm_name}, {decoding}.")


def _check_arm(name: str, arm: Arm, experiment: Experiment, path: Path) -> None:
    unknown = set(arm.decodings) - set(experiment.decodings)
    if unknown:
        raise FileError(f"{path}: the arm '{name}' has unknown decodings {sorted(unknown)}.")
    crossfit = [d for d in arm.decodings if experiment.decodings[d].fit_on == "crossfit"]
    if arm.ensemble and "average" in arm.model_fields_set:
        raise FileError(f"{path}: '{name}' cannot be both an average and an ensemble.")
    if crossfit and len(arm.ensemble or arm.average) > 1:
        raise FileError(
            f"{path}: '{name}' averages networks, so '{crossfit[0]}' cannot decode it: "
            "cross-fitting trains one network for each of its folds."
        )
    if arm.flat and not arm.predicted:
        raise FileError(f"{path}: '{name}' is flat, which only an arm with `predicted` can say.")
    if arm.train_share not in SHARES:
        raise FileError(f"{path}: the train_share of '{name}' is not one of {SHARES}.")
    if not set(arm.folds or ()) <= set(range(experiment.folds)):
        raise FileError(f"{path}: the arm '{name}' has folds {arm.folds}; 0 is the first.")
