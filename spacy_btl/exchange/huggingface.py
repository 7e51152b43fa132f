"""`AutoModelForTokenClassification` checkpoints: ours as one of them, and one of them as ours.

A token's logits are the mean over its wordpieces of a linear layer of their vectors, so per
wordpiece the two have the same logits.
"""

import tempfile
from pathlib import Path

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy_transformers.layers.transformer_model import TransformerModel
from thinc.api import Model, fix_random_seed
from transformers import AutoModelForTokenClassification, PreTrainedModel

from spacy_btl.errors import PipelineError
from spacy_btl.exchange.labels import from_labels, to_labels
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.files import (
    base_name,
    forget_paths,
    load_pipeline,
    refuse_foreign_folder,
    save_whole,
)

NEVER = -1e4  # the logit of a tag that the checkpoint does not have


def export_hf(model: str, output: Path) -> None:
    """Save a pipeline's encoder and head as a checkpoint, with its tokenizer.

    The calibrator stays behind: the checkpoint decides by arg-max.

    model (str): A package name or a folder.
    output (Path): A new or empty folder.
    RAISES: PipelineError, for a pipeline without a `btl_ner` over a transformer, or with an
        ensemble of several, or an output that exists or cannot be written.
    """
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise PipelineError(f"{output} exists: give a new folder.")
    nlp = load_pipeline(model)
    ner = _find_ner(nlp, model)
    encoder = _find_encoder(nlp, ner)
    classifier = _classifier(encoder, ner)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-") as folder:
            new = Path(folder) / "new"
            classifier.save_pretrained(new)
            encoder.tokenizer.save_pretrained(new)
            new.rename(output)
    except OSError as error:
        raise PipelineError(f"{output}: cannot be written ({error.strerror}).") from error


def import_hf(
    checkpoint: Path, output: Path, *, lang: str = "en", window: int = 256, overlap: int = 64
) -> Language:
    """Make a pipeline, transformer > ner, of a checkpoint, and save it.

    Fit a calibrator to it with `python -m spacy btl calibrate`.

    checkpoint (Path): A folder, as `save_pretrained` writes it.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    lang (str): The language of the tokenizer.
    window, overlap (int): See `spacy_btl.WindowedTransformer.v1`.
    RAISES: PipelineError, for a folder that holds no such checkpoint, labels that are neither IO
        nor BIO, a language that spaCy lacks, or an output that cannot be used.
    """
    refuse_foreign_folder(output)
    nlp = _blank(lang)
    classifier = _read_checkpoint(checkpoint)
    scheme, ids = from_labels(classifier.config.id2label)
    fix_random_seed(0)  # a pooler that the checkpoint lacks is made, though nothing uses it
    encoder = {
        "@architectures": "spacy_btl.WindowedTransformer.v1",
        "name": str(checkpoint),
        "window": window,
        "overlap": overlap,
    }
    nlp.add_pipe("transformer", config={"model": encoder})
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    head = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": listener}
    ner = nlp.add_pipe("btl_ner", name="ner", config={"scheme": scheme.scheme, "model": head})
    nlp.config["initialize"]["components"]["ner"] = {"labels": list(scheme.types)}
    nlp.initialize(lambda: [Example.from_dict(Doc(nlp.vocab, words=["-"]), {})])
    # How frequent the tags were in its training, nobody knows.
    ner.cfg["tag_counts"] = [0] * len(scheme)
    linear = _linear(classifier)
    W, b = (p.detach().float().numpy() for p in (linear.weight, linear.bias))
    rows = [0 if number is None else number for number in ids]
    missing = np.array([number is None for number in ids])
    layer = _head(ner).layers[0]
    layer.set_param("W", layer.ops.asarray2f(np.where(missing[:, None], 0, W[rows])))
    layer.set_param("b", layer.ops.asarray1f(np.where(missing, NEVER, b[rows])))
    nlp.meta["name"] = base_name(str(checkpoint.resolve()))
    forget_paths(nlp)
    save_whole(nlp, output)
    return nlp


def _blank(lang: str) -> Language:
    try:
        return spacy.blank(lang)
    except ImportError:
        raise PipelineError(f"spaCy has no tokenizer for the language {lang!r} here.") from None


def _find_ner(nlp: Language, model: str) -> BtlNer:
    for _, pipe in nlp.pipeline:
        if isinstance(pipe, BtlNer):
            return pipe
    raise PipelineError(f"'{model}' has no btl_ner, whose head is exported: {nlp.pipe_names}.")


def _find_encoder(nlp: Language, ner: BtlNer) -> TransformerModel:
    """The pipe's own encoder, or the one that it listens to."""
    models = [ner.model, *(getattr(pipe, "model", None) for _, pipe in nlp.pipeline)]
    for model in models:
        layers = model.walk() if isinstance(model, Model) else ()
        found = [layer for layer in layers if isinstance(layer, TransformerModel)]
        if len(found) > 1:
            raise PipelineError(
                f"'{ner.name}' is an ensemble of {len(found)} encoders, and a checkpoint holds one:"
                " export the networks that it was made of, or their average."
            )
        if found:
            return found[0]
    raise PipelineError(f"'{ner.name}' has no transformer: only such a pipeline can be exported.")


def _head(ner: BtlNer) -> Model:
    return next(layer for layer in ner.model.walk() if layer.name == "over_seen_tokens")


def _classifier(encoder: TransformerModel, ner: BtlNer) -> PreTrainedModel:
    config = encoder.transformer.config
    labels = to_labels(ner.tag_scheme)
    classes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    config = type(config).from_dict({**config.to_dict(), **classes})
    classifier = AutoModelForTokenClassification.from_config(config)
    keys = classifier.base_model.load_state_dict(encoder.transformer.state_dict(), strict=False)
    if keys.missing_keys or any("pooler" not in key for key in keys.unexpected_keys):
        raise PipelineError(f"An encoder of the kind {config.model_type} cannot be exported.")
    head, linear = _head(ner), _linear(classifier)
    layer = head.layers[0]
    with torch.no_grad():
        for name, parameter in (("W", linear.weight), ("b", linear.bias)):
            values = layer.ops.to_numpy(layer.get_param(name)) * head.attrs["scale"]
            parameter.copy_(torch.from_numpy(values))
    return classifier


def _linear(classifier: PreTrainedModel) -> torch.nn.Linear:
    linear = getattr(classifier, "classifier", None)
    if not isinstance(linear, torch.nn.Linear):
        kind = classifier.config.model_type
        raise PipelineError(f"A token classifier of the kind {kind} has no linear head of its own.")
    return linear


def _read_checkpoint(folder: Path) -> PreTrainedModel:
    if not (folder / "config.json").is_file():
        raise PipelineError(f"{folder}: no checkpoint here. Give a folder with a config.json.")
    try:
        classifier, report = AutoModelForTokenClassification.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # of json, safetensors, torch and transformers, each its own
        raise PipelineError(
            f"{folder}: transformers cannot load it as a token classifier ({type(error).__name__})."
        ) from error
    if report["missing_keys"]:
        raise PipelineError(
            f"{folder}: no token classifier, its head is missing. Train it, or train a btl_ner."
        )
    return classifier
