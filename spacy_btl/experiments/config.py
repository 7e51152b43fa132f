"""An experiment file: corpora x arms x folds x seeds, and how each is decoded."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.errors import FileError
from spacy_btl.files import read_yaml

# Parts of the training documents that the smaller training sets are made of, each in the next.
SHARES = (0.25, 0.5, 1.0)

# float16 needs a GPU, bfloat16 a CPU that has it.
Precision = Literal["float32", "bfloat16", "float16"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Decoding(_Strict):
    """How entities are read from the logits of a trained network. The default takes those of a
    `ner` without logits as they are.

    calibrator (Dict[str, Any]): Settings of a `knn_calibrator`. The default is the argmax.
    fit_on (str): The documents of its datastore: "train" or "dev"; or "crossfit", the training
        documents and the maps too, by networks that did not train on what they read.
    map_on_dev (bool): Whether its maps are fitted on the dev documents.
    tune (bool): Whether `python -m spacy btl tune` chooses `knn_weight`, `tau` and
        `transition_weight` on the dev documents. Then the maps are fitted too.
    """

    calibrator: dict[str, Any] = {"knn_weight": 0.0, "transition_weight": 0.0, "tau": 0.0}
    fit_on: Literal["train", "dev", "crossfit"] = "train"
    map_on_dev: bool = False
    tune: bool = False


class Arm(_Strict):
    """A way of training: a `btl_ner` pipe called ner; or any other of that name, spaCy's own for
    one, whose entities are taken as they are, so by the default decoding.

    overrides (Dict[str, Any]): Dotted names of the config and their values.
    average (List[Dict[str, Any]]): Further overrides, of one network each: all of them are trained,
        and their weights averaged. By default it is one network without further ones.
    ensemble (List[Dict[str, Any]]): In place of `average`: their logits are averaged.
    decodings (List[str]): The names of its decodings.
    folds (Optional[List[int]]): The folds that it runs on; all of them by default.
    train_share (float): 0.25, 0.5 or 1: the share of the training documents that it sees.
    precision (Optional[str]): In place of the experiment's.
    threads (Optional[int]): In place of the experiment's.
    """

    overrides: dict[str, Any] = {}
    average: list[dict[str, Any]] = Field(default=[{}], min_length=1)
    ensemble: list[dict[str, Any]] = []
    decodings: list[str]
    folds: list[int] | None = None
    train_share: float = 1.0
    precision: Precision | None = None
    threads: PositiveInt | None = None


class Experiment(_Strict):
    """What an experiment file holds.

    corpora (Dict[str, Path]): The `.spacy` files to divide, by name.
    folds (int): Every document is in the test part of one of so many folds.
    dev (float): The share of the training documents that goes to dev.
    split_seed (int): Decides the folds.
    seeds (List[int]): Every arm is trained with each.
    config (Path): The training config of all arms.
    overrides (Dict[str, Any]): Dotted names of the config and their values, for all arms.
    decodings (Dict[str, Decoding]): By name.
    arms (Dict[str, Arm]): By name.
    baseline (Tuple[str, str]): The arm and decoding that the others are compared with.
    precision (Optional[str]): What the config's `mixed_precision` comes to; by default what the
        processor has, float16 on a GPU. Trainings of another precision are other trainings.
    threads (int): CPU threads of each training, which are part of what makes it.
    """

    title: str
    corpora: dict[str, Path]
    folds: PositiveInt = Field(ge=2)
    dev: float = 0.1
    split_seed: int = 0
    seeds: list[int] = [0]
    config: Path
    overrides: dict[str, Any] = {}
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
            raise FileError(f"{path}: '{name}' is fitted on dev, which can then fit no maps.")
    for name, arm in experiment.arms.items():
        unknown = set(arm.decodings) - set(experiment.decodings)
        if unknown:
            raise FileError(f"{path}: the arm '{name}' has unknown decodings {sorted(unknown)}.")
        crossfit = [d for d in arm.decodings if experiment.decodings[d].fit_on == "crossfit"]
        if arm.ensemble and "average" in arm.model_fields_set:
            raise FileError(f"{path}: '{name}' cannot be both an average and an ensemble.")
        if crossfit and len(arm.ensemble or arm.average) > 1:
            raise FileError(
                f"{path}: '{name}' averages networks, so '{crossfit[0]}' cannot read it: "
                "cross-fitting trains one network for each of its folds."
            )
        if arm.train_share not in SHARES:
            raise FileError(f"{path}: the train_share of '{name}' is not one of {SHARES}.")
        if not set(arm.folds or ()) <= set(range(experiment.folds)):
            raise FileError(f"{path}: the arm '{name}' has folds {arm.folds}; 0 is the first.")
    arm_name, decoding = experiment.baseline
    if arm_name not in experiment.arms or decoding not in experiment.arms[arm_name].decodings:
        raise FileError(f"{path}: there is no baseline {arm_name}, {decoding}.")
