"""Export pipelines to `AutoModelForTokenClassification` checkpoints, and import such checkpoints.

The logits of a token are the mean over its wordpieces of a linear layer, which is what such a
classifier computes per wordpiece. Every export and import is loaded again, and its logits are
compared with those of its source, before it gets its name.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

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
from spacy_btl.exchange.classifier import (
    Checkpoint,
    errors_of_transformers,
    linear_head,
    read_checkpoint,
)
from spacy_btl.exchange.comparison import NEVER, check_logits
from spacy_btl.exchange.labels import from_labels, to_labels
from spacy_btl.files import whole_folder
from spacy_btl.models.checkpoint import UNUSED
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipelines import (
    base_name,
    forget_paths,
    load_pipeline,
    refuse_foreign_folder,
    save_whole,
)

# Settings of an encoder that cost digits, at prediction too.
IMPRECISE = ("mixed_precision", "predict_bfloat16")


def export_hf(model: str, output: Path) -> None:
    """Save a pipeline's encoder and head as a checkpoint, with its tokenizer.

    The calibrator stays behind: the checkpoint decides by argmax.

    model (str): A package name or a folder.
    output (Path): A new or empty folder.
    RAISES: PipelineError, for a pipeline without a `btl_ner` over a transformer, with one that has
        a `spans_key`, or with an ensemble of several, a kind of encoder of which transformers makes
        no such classifier, a checkpoint whose logits are not those of the pipeline, or an output
        that exists; FileError, for one that cannot be written.

    >>> from spacy_btl import export_hf
    >>> export_hf("trained", Path("exported"))
    """
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise PipelineError(f"{output} exists: give a new folder.")
    nlp = _load_in_float32(model)
    ner = _find_ner(nlp, model)
    if ner.spans_key is not None:
        raise PipelineError(
            f"'{model}' cannot be exported: its '{ner.name}' has a spans_key and decides each type "
            "by itself, and a token classifier of transformers gives one label to a token."
        )
    encoder = _find_encoder(nlp, ner)
    classifier = _classifier(encoder, ner, f"'{model}'")
    with whole_folder(output) as folder:
        classifier.save_pretrained(folder)
        encoder.tokenizer.save_pretrained(folder)
        ids = range(len(ner.tag_scheme))
        check_logits(nlp, ner.name, encoder, read_checkpoint(folder), ids, f"'{model}'")


def import_hf(
    checkpoint: Path, output: Path, *, lang: str = "en", window: int = 256, overlap: int = 64
) -> Language:
    """Make a pipeline, transformer > ner, from a checkpoint, and save it.

    Fit a calibrator to it with `python -m spacy btl calibrate`.

    checkpoint (Path): A folder, as `save_pretrained` writes it, with its tokenizer.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    lang (str): The language of the tokenizer.
    window, overlap (int): See `spacy_btl.WindowedTransformer.v1`.
    RAISES: PipelineError, for a folder that holds no such checkpoint, one whose head is more than a
        linear layer, labels that are neither IO nor BIO, a language that spaCy lacks, a pipeline
        whose logits are not those of the checkpoint, or an output that cannot be used.

    >>> from spacy_btl import import_hf
    >>> import_hf(Path("checkpoint"), Path("imported"), window=48, overlap=8).pipe_names
    ['transformer', 'ner']
    """
    refuse_foreign_folder(output)
    nlp = _blank(lang)
    read = read_checkpoint(checkpoint)
    linear = linear_head(read.classifier, str(checkpoint))
    scheme, ids = from_labels(read.classifier.config.id2label)
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
    config = {"scheme": scheme.scheme, "model": head}
    ner = cast(BtlNer, nlp.add_pipe("btl_ner", name="ner", config=config))
    nlp.config["initialize"]["components"]["ner"] = {"labels": list(scheme.types)}
    kind = read.classifier.config.model_type
    with errors_of_transformers(
        str(checkpoint), f"an encoder of the kind {kind} does not run here"
    ):
        fix_random_seed(0)  # a pooler that the checkpoint lacks is made, though nothing uses it
        nlp.initialize(lambda: [Example.from_dict(Doc(nlp.vocab, words=["-"]), {})])
    # How frequent the tags were in its training, nobody knows.
    ner.cfg["tag_counts"] = [0] * len(scheme)
    _set_head(ner, linear, ids)
    nlp.meta["name"] = base_name(str(checkpoint.resolve()))
    forget_paths(nlp)
    save_whole(nlp, output, check=partial(_check_saved, read, ids, str(checkpoint)))
    return nlp


def _set_head(ner: BtlNer, linear: torch.nn.Linear, ids: list[int | None]) -> None:
    W = linear.weight.detach().numpy()
    b = np.zeros(len(W)) if linear.bias is None else linear.bias.detach().numpy()
    rows = [0 if number is None else number for number in ids]
    missing = np.array([number is None for number in ids])
    layer = _head(ner).layers[0]
    weights = np.where(missing[:, None], 0, W[rows])
    bias = np.where(missing, NEVER, b[rows])
    layer.set_param("W", layer.ops.xp.asarray(weights, dtype="float32"))
    layer.set_param("b", layer.ops.xp.asarray(bias, dtype="float32"))


def _check_saved(read: Checkpoint, ids: list[int | None], checkpoint: str, saved: Path) -> None:
    with errors_of_transformers(checkpoint, "the pipeline made of it cannot be loaded again"):
        nlp = spacy.load(saved)
    ner = _find_ner(nlp, checkpoint)
    check_logits(nlp, ner.name, _find_encoder(nlp, ner), read, ids, checkpoint)


def _load_in_float32(model: str) -> Language:
    """Load a pipeline without the settings of its encoders that cost digits."""
    nlp = load_pipeline(model)
    exact = dict.fromkeys(_imprecise(nlp.config["components"], "components"), False)
    return load_pipeline(model, config=exact) if exact else nlp


def _imprecise(block: dict[str, Any], place: str) -> Iterator[str]:
    for key, value in block.items():
        if isinstance(value, dict):
            yield from _imprecise(value, f"{place}.{key}")
        elif key in IMPRECISE and value:
            yield f"{place}.{key}"


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
    raise PipelineError(
        f"'{ner.name}' has no transformer: only such a pipeline can be exported. Of a compiled "
        "one, export the pipeline that it was made of."
    )


def _head(ner: BtlNer) -> Model:
    return next(layer for layer in ner.model.walk() if layer.name == "over_seen_tokens")


def _classifier(encoder: TransformerModel, ner: BtlNer, where: str) -> PreTrainedModel:
    config = encoder.transformer.config
    labels = to_labels(ner.tag_scheme)
    classes = {
        "id2label": dict(enumerate(labels)),
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    config = type(config).from_dict({**config.to_dict(), **classes})
    refusal = f"an encoder of the kind {config.model_type} cannot be exported"
    with errors_of_transformers(where, refusal):
        classifier = AutoModelForTokenClassification.from_config(config, torch_dtype=torch.float32)
        keys = classifier.base_model.load_state_dict(encoder.transformer.state_dict(), strict=False)
    if keys.missing_keys or any(UNUSED not in key for key in keys.unexpected_keys):
        raise PipelineError(f"{where}: {refusal}, its layers are not those of the classifier.")
    head, linear = _head(ner), linear_head(classifier, where)
    layer = head.layers[0]
    with torch.no_grad():
        for name, parameter in (("W", linear.weight), ("b", linear.bias)):
            values = layer.ops.to_numpy(layer.get_param(name)) * head.attrs["scale"]
            if parameter is not None:  # a bias that is lost is seen in the comparison
                parameter.copy_(torch.from_numpy(values))
    return classifier
