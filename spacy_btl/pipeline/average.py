"""One network of several: the mean of their weights, which costs no more to run than one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from thinc.api import Model, PyTorchShim, get_array_module, torch2xp
from thinc.types import FloatsXd

from spacy_btl.errors import PipelineError
from spacy_btl.pipeline.calibrate import CALIBRATOR
from spacy_btl.pipeline.files import load_pipeline, refuse_foreign_folder, save_whole

# The squared distance of two networks' weights, in squared lengths of one's. MiniLM fine-tuned
# twice is at 0.002; encoders that began elsewhere are about as far as random vectors are, at 2.
FAR = 0.5


def average(models: Sequence[str], output: Path) -> None:
    """Save a pipeline whose weights are the means of those of several.

    Networks that were fine-tuned from one encoder lie in one basin of the loss, and the mean of
    their weights mostly does better than each: the uniform "model soup" of Wortsman et al. 2022
    (arXiv 2203.05482). They may differ in loss, masking, learning rate, or order of documents.

    models (Sequence[str]): Two or more package names or folders. Everything but the weights is as
        in the first.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    RAISES: PipelineError, for fewer pipelines than two, one that is calibrated already, one that
        has other pipes, types or layers than the first, or one whose encoder began elsewhere.
    """
    refuse_foreign_folder(output)
    if len(models) < 2:
        raise PipelineError("There is nothing to average: give two pipelines or more.")
    nlp = _load(models[0])
    first = weights(nlp)
    sums = [values.astype("float64") for values in first.values()]
    for model in models[1:]:
        other = _load(model)
        if _kind(other) != _kind(nlp):
            raise PipelineError(
                f"'{model}' and '{models[0]}' cannot be averaged: they differ in their pipes, "
                "entity types or layers."
            )
        values = list(weights(other).values())
        if _distance(list(first.values()), values) > FAR:
            raise PipelineError(
                f"'{model}' and '{models[0]}' cannot be averaged: their weights are too far apart "
                "to have been fine-tuned from one encoder."
            )
        sums = [total + value for total, value in zip(sums, values, strict=True)]
    means = [(total / len(models)).astype("float32") for total in sums]
    nlp.meta["performance"] = {}  # the first one's
    with nlp.use_params(dict(zip(first, means, strict=True))):
        save_whole(nlp, output)


def weights(nlp: Language) -> dict[tuple[int, str], FloatsXd]:
    """All weights of a pipeline, in the order of its layers, by what `nlp.use_params` knows them
    by: the id of the layer or shim that owns them, and their name there."""
    found: dict[tuple[int, str], FloatsXd] = {}
    models = [getattr(pipe, "model", None) for _, pipe in nlp.components]
    for layer in (layer for model in models if isinstance(model, Model) for layer in model.walk()):
        for name in filter(layer.has_param, layer.param_names):
            found[layer.id, name] = layer.get_param(name)
        for shim in layer.shims:
            if isinstance(shim, PyTorchShim):
                for name, values in shim._model.named_parameters():
                    found[shim.id, name] = torch2xp(values.detach())
    return found


def _load(model: str) -> Language:
    nlp = load_pipeline(model)
    if CALIBRATOR in nlp.pipe_factories.values():
        raise PipelineError(
            f"'{model}' has a calibrator, which was fitted to its own logits. Average the trained "
            "pipelines first, then calibrate the result."
        )
    return nlp


def _kind(nlp: Language) -> Any:
    shapes = [(name, values.shape) for (_, name), values in weights(nlp).items()]
    return nlp.pipe_factories, nlp.pipe_labels, shapes


def _distance(first: Sequence[FloatsXd], second: Sequence[FloatsXd]) -> float:
    xp = get_array_module(first[0])
    square = sum(float(xp.square(a - b).sum()) for a, b in zip(first, second, strict=True))
    return square / sum(float(xp.square(values).sum()) for values in first)
