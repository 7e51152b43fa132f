"""Training the networks of an experiment. Cells share networks; each is trained once."""

import json
import shutil
import tempfile
import time
from pathlib import Path

from spacy_btl.errors import PipelineError
from spacy_btl.experiments.plan import Network
from spacy_btl.files import write_file
from spacy_btl.models.passes import cpu_has_bfloat16
from spacy_btl.training.subprocess import spacy_train

COST = "cost.json"
SPEED = "words_per_second"  # of prediction, in the cost of another library's predictions
# Beside it, with the config and the log of the training.
PIPELINE = "pipeline"
CONFIG = "train.cfg"


def network_folder(network: Network, cache: Path) -> Path:
    """The folder of a network, kept while cells need it."""
    return cache / "networks" / network.key


def is_trained(network: Network, cache: Path) -> bool:
    """Whether a network is trained."""
    return (network_folder(network, cache) / COST).is_file()


def train_network(network: Network, cache: Path, *, gpu: int = -1) -> None:
    """Train a network with `spacy train`, unless it is trained, and write its pipeline and cost.

    An interrupted run leaves a folder that ends in ".part", which the next run deletes.

    gpu (int): As for `spacy train`; -1 is the CPU.
    RAISES: PipelineError, if the training fails, or the processor lacks its precision.
    """
    if is_trained(network, cache):
        return
    _check_processor(network, gpu)
    folder = network_folder(network, cache)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{network.key}-*.part"):
        shutil.rmtree(left, ignore_errors=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{network.key}-", suffix=".part"))
    network.config.to_disk(part / CONFIG)
    log, output = part / "train.log", part / "output"
    start = time.monotonic()
    went_well, peak = spacy_train(
        part / CONFIG, output, log, paths=network.documents, gpu=gpu, threads=network.threads
    )
    if not went_well:
        raise PipelineError(f"The training of '{network.name}' failed: {log} says why.")
    (output / "model-last").rename(part / PIPELINE)
    shutil.rmtree(output)
    training = network.config["training"]
    cost = {
        "optimizer_steps": training["max_steps"],
        "encoder_passes": training["max_steps"] * training["accumulate_gradient"],
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_mb": peak,
        "precision": network.precision,
        "threads": network.threads,
        "gpu": gpu >= 0,
    }
    write_file(part / COST, json.dumps(cost, indent=2).encode("utf-8"))
    part.rename(folder)


def _check_processor(network: Network, gpu: int) -> None:
    there = {"float32", "float16" if gpu >= 0 else "bfloat16" if cpu_has_bfloat16() else ""}
    if network.precision not in there:
        raise PipelineError(
            f"'{network.name}' is trained in {network.precision}, which this processor does not "
            "support. Set the precision of the experiment file to float32 and give another "
            "--output: all cells are then trained again."
        )


def drop_network(network: Network, cache: Path) -> None:
    """Delete a network, which is large."""
    shutil.rmtree(network_folder(network, cache), ignore_errors=True)
