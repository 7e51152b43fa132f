"""Average the weights of several networks, which gives one network of the same cost."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from spacy.language import Language
from thinc.api import Model, PyTorchShim, torch2xp

from spacy_btl.errors import PipelineError
from spacy_btl.models.compiled import is_compiled
from spacy_btl.pipelines import load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.training.calibrate import CALIBRATOR

# A distance as `_distance` has it. MiniLM fine-tuned twice is at 0.002; networks from two encoders
# are about as far apart as random vectors, at 2.
FAR = 0.5

# Names of parameters and their arrays, of numpy or cupy.
Weights = list[tuple[str, Any]]


def average(models: Sequence[str], output: Path) -> list[str]:
    """Save a pipeline whose weights are the means of those of several.

    This is the uniform "model soup" of Wortsman et al. 2022 (arXiv 2203.05482): networks that were
    fine-tuned from one encoder lie in one basin of the loss, so that the mean of their weights
    works as a network. They may differ in loss, masking, learning rate, or order of documents.

    models (Sequence[str]): Two or more package names or folders. Everything but the weights is as
        in the first; `meta.json` has the loss of each as `averaged`.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    RETURNS (List[str]): The models that learned nothing, by the evaluation of their training.
    RAISES: PipelineError, for fewer pipelines than two, one that is calibrated already, one that
        has other pipes, types or layers than the first, or one of another encoder.

    >>> from spacy_btl import average
    >>> idle = average(["trained", "other"], Path("averaged"))
    """
    refuse_foreign_folder(output)
    if len(models) < 2:
        raise PipelineError("An average needs two pipelines or more.")
    nlp = load_uncalibrated(models[0])
    first = weights(nlp)
    losses = [loss_of(nlp)]
    idle = [models[0]] if learned_nothing(nlp) else []
    sums = [values.astype("float64") for _, values in first]
    for model in models[1:]:
        other = load_uncalibrated(model)
        if _kind(other) != _kind(nlp):
            raise PipelineError(
                f"'{model}' and '{models[0]}' cannot be averaged: they differ in their pipes, "
                "entity types, layers, the scale of the head, or in spans_key."
            )
        theirs = weights(other)
        if _distance(first, theirs) > FAR:
            raise PipelineError(
                f"'{model}' and '{models[0]}' cannot be averaged: their weights are too far apart "
                "to have been fine-tuned from one encoder."
            )
        losses.append(loss_of(other))
        if learned_nothing(other):
            idle.append(model)
        sums = [total + values for total, (_, values) in zip(sums, theirs, strict=True)]
    for (_, values), total in zip(first, sums, strict=True):
        values[...] = total / len(models)
    nlp.meta.update(averaged=losses, performance={})  # the figures were the first one's
    save_whole(nlp, output)
    return idle


def learned_nothing(nlp: Language) -> bool:
    """Whether no entity was correct when `spacy train` evaluated a pipeline, as at step 0."""
    return nlp.meta.get("performance", {}).get("ents_f") == 0


def weights(nlp: Language) -> Weights:
    """All weights of a pipeline, in the order of its layers. They are views: writing into them
    changes the pipeline."""
    found: Weights = []
    for layer in _layers(nlp):
        found += [
            (name, layer.get_param(name)) for name in layer.param_names if layer.has_param(name)
        ]
        for shim in layer.shims:
            if isinstance(shim, PyTorchShim):
                # No public name of thinc's leads to the torch module.
                named = shim._model.named_parameters()  # noqa: SLF001
                found += [(name, torch2xp(values.detach())) for name, values in named]
    return found


def _layers(nlp: Language) -> Iterator[Model]:
    models = (getattr(pipe, "model", None) for _, pipe in nlp.components)
    return (layer for model in models if isinstance(model, Model) for layer in model.walk())


def load_uncalibrated(model: str) -> Language:
    """Load a trained pipeline.

    RAISES: PipelineError, for one that is calibrated or compiled already, or that cannot be loaded.
    """
    nlp = load_pipeline(model)
    if is_compiled(nlp):
        raise PipelineError(
            f"'{model}' is compiled, and has no weights to combine. Combine the trained pipelines "
            "first, then compile the result."
        )
    if CALIBRATOR in nlp.pipe_factories.values():
        raise PipelineError(
            f"'{model}' has a calibrator, which was fitted to its own logits. Combine the trained "
            "pipelines first, then calibrate the result."
        )
    return nlp


def loss_of(nlp: Language) -> dict[str, Any]:
    """The loss of the first `btl_ner` pipe; empty where there is none."""
    configs = (nlp.get_pipe_config(name) for name in nlp.component_names)
    return next((dict(config["loss"]) for config in configs if "loss" in config), {})


def _kind(nlp: Language) -> tuple[Any, ...]:
    """What pipelines must have in common to be averaged."""
    shapes = [(name, values.shape) for name, values in weights(nlp)]
    scales = [layer.attrs["scale"] for layer in _layers(nlp) if "scale" in layer.attrs]
    modes = [getattr(pipe, "spans_key", None) is None for _, pipe in nlp.components]
    return nlp.pipe_factories, nlp.pipe_labels, shapes, scales, modes


def _distance(first: Weights, second: Weights) -> float:
    """The squared distance of two networks' weights, in squared lengths of the first one's."""
    between = sum(float(((a - b) ** 2).sum()) for (_, a), (_, b) in zip(first, second, strict=True))
    return between / sum(float((a**2).sum()) for _, a in first)
