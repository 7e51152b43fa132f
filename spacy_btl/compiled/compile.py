"""`btl compile`: a trained pipeline with its encoder on an inference engine."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from spacy import registry
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus
from spacy_transformers.layers.transformer_model import TransformerModel

from spacy_btl.compiled.encoder import shim_of
from spacy_btl.compiled.engine import (
    PRECISIONS,
    REQUIREMENT,
    Inputs,
    Precision,
    load_library,
    make_inputs,
)
from spacy_btl.compiled.export import export, quantize, round_weights, to_network
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import BtlWarning, PipelineError, counted
from spacy_btl.guarantee.promises import forget_promises
from spacy_btl.models.compiled import COMPILED, is_compiled
from spacy_btl.models.encoder import windowed_tok2vec
from spacy_btl.models.shim import shim_of as trained_shim_of
from spacy_btl.models.windows import WordpieceWindows
from spacy_btl.models.wordpieces import WordpieceTokenizer
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import find_calibrator
from spacy_btl.pipelines import (
    forget_paths,
    load_pipeline,
    refuse_foreign_folder,
    save_whole,
)
from spacy_btl.training.trained_on import in_datastore, same_text, training_docs

ENCODER = "spacy_btl.WindowedTransformer.v1"
HEAD = "spacy_btl.TokenLogits.v1"
LISTENER = "spacy-transformers.TransformerListener.v1"
TRAINED_BY = "spacy-transformers"
# Windows by which int8 learns the ranges of values, and documents that are compared.
CALIBRATION_WINDOWS = 64
COMPARED = 100
# Held-out documents that maps are fitted to, at least: those of float32 have more behind them.
ENOUGH_HELD_OUT = 20
# The least mean cosine to the float32 vectors. A wrong export has far less.
COSINES: dict[Precision, float] = {
    "fp32": 0.99999,
    "bf16": 0.999,
    "int8-weights": 0.999,
    "int8": 0.97,
}
# What is compared without a corpus.
TEXTS = (
    "The patient was admitted with fever and cough.",
    "Aspirin 100 mg daily was given. No pain in the left arm.",
    "CRP was 84 mg/l.\nDischarged home on the third day.\n" * 12,
)


@dataclass(frozen=True)
class Compiled:
    """What became of a pipeline.

    before, after (int): Bytes of its files.
    cosine (float): The mean over words of the cosine between their vectors and those of float32.
    compared (str): What they were compared on: notes of the calibration corpus, or a few sentences.
    identical (float | None): Of the entities that either pipeline finds, the share that both do;
        None if there is none.
    maps (str): What became of the calibration maps.
    """

    precision: Precision
    before: int
    after: int
    cosine: float
    compared: str
    identical: float | None
    maps: str

    def remarks(self) -> Iterator[str]:
        """The same in sentences."""
        before, after = (f"{size / 1e6:,.1f} MB" for size in (self.before, self.after))
        yield f"{before} before, {after} in {self.precision}"
        yield f"Mean cosine to the vectors of float32, on {self.compared}: {self.cosine:.5f}"
        if self.identical is not None:
            yield f"Entities that both pipelines find there: {self.identical:.2%}"
        yield self.maps[0].upper() + self.maps[1:]


def compile_pipeline(
    model: str,
    output: Path,
    *,
    precision: Precision = "int8-weights",
    calibration: Path | None = None,
) -> Compiled:
    """Save a pipeline whose encoder runs on OpenVINO, and which needs neither torch nor
    transformers. It predicts, and cannot be trained.

    model (str): A package name or a folder: a `transformer` whose model is
        `spacy_btl.WindowedTransformer.v1`, and a `btl_ner` that listens to it.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    precision (str): "fp32", "bf16", "int8-weights" (arithmetic in bfloat16) or "int8".
    calibration (Optional[Path]): A `.spacy` file: for int8, the ranges of values are those of its
        notes. The calibration maps are fitted anew to those documents that neither the network nor
        the calibrator had.
    RAISES: BtlError, where the model, the corpus or the output cannot be used, the engine is not
        installed, or its vectors are not those of the encoder.

    >>> from spacy_btl import compile_pipeline
    >>> compiled = compile_pipeline("calibrated", Path("compiled"), precision="fp32")
    >>> compiled.cosine > 0.9999
    True
    """
    if precision not in PRECISIONS:
        raise PipelineError(f"precision is one of {', '.join(PRECISIONS)}, not '{precision}'.")
    if precision == "int8" and calibration is None:
        raise PipelineError(
            "int8 needs notes to learn the ranges of values from: give --calibration the .spacy "
            "file of some, as of the dev part. Other precisions need none."
        )
    refuse_foreign_folder(output)
    load_library("openvino", "compile")
    if precision.startswith("int8"):
        load_library("nncf", "compile")
    nlp = load_pipeline(model)
    place = _find(nlp, model)
    corpus = read_docs(calibration, nlp.vocab) if calibration is not None else []
    trained = load_pipeline(model)
    docs = [nlp.make_doc(doc.text) for doc in corpus] or list(map(nlp.make_doc, TEXTS))
    _replace_encoder(nlp, place, precision, docs)
    docs = docs[:: -(-len(docs) // COMPARED)]
    cosine = _compare(trained, nlp, place, docs)
    if not cosine >= COSINES[precision]:  # nan is not
        raise PipelineError(
            f"'{model}' cannot be compiled in {precision}: the mean cosine to the vectors of "
            f"float32 is {cosine:.3f}. Choose another precision, or give --calibration more "
            "notes."
        )
    maps = _fit_maps(nlp, precision, calibration, corpus)
    identical = _identical(trained, nlp, docs)
    forget_promises(nlp)
    nlp.meta.update(
        compiled={"precision": precision, "encoder": place.described},
        performance={},
        requirements=[*_kept(nlp.meta.get("requirements", [])), REQUIREMENT],
    )
    # `nlp.update` resolves this block as it stands, and then meets the refusal of the encoder.
    nlp.config["training"]["optimizer"] = nlp.config.interpolate()["training"]["optimizer"]
    forget_paths(nlp)
    save_whole(nlp, output)
    before = _size(trained.path) if trained.path is not None else 0
    compared = counted(len(docs), "note") if calibration is not None else "a few sentences"
    return Compiled(precision, before, _size(output), cosine, compared, identical, maps)


def _kept(requirements: Sequence[str]) -> list[str]:
    """What the compiled pipeline requires of that which `spacy package` found for the trained one:
    all but its encoder's library."""
    return [one for one in requirements if canonicalize_name(Requirement(one).name) != TRAINED_BY]


@dataclass(frozen=True)
class _Place:
    """The pipe with the encoder and the one that listens to it."""

    upstream: str
    ner: str
    encoder: TransformerModel

    @property
    def described(self) -> dict[str, Any]:
        network = self.encoder.transformer
        return {
            "name": Path(self.encoder.attrs["name"]).name,
            "kind": network.config.model_type,
            "parameters": network.num_parameters(),
        }


def _find(nlp: Language, model: str) -> _Place:
    """RAISES: PipelineError, for a pipeline that is not one encoder and one head."""
    refused = f"'{model}' cannot be compiled: "
    if is_compiled(nlp):
        raise PipelineError(f"{refused}it is compiled already. Give the pipeline it was made of.")
    if not any(isinstance(pipe, BtlNer) for _, pipe in nlp.components):
        raise PipelineError(f"{refused}it has no btl_ner.")
    configs = {name: nlp.get_pipe_config(name).get("model", {}) for name in nlp.component_names}
    upstream = [name for name, model in configs.items() if model.get("@architectures") == ENCODER]
    if len(upstream) != 1:
        raise PipelineError(
            f"{refused}it needs one pipe with an encoder, {ENCODER}, and has {len(upstream)}. An "
            "ensemble, or a btl_ner that owns its encoder, cannot be compiled: average networks "
            "instead, and train with a transformer pipe and listeners."
        )
    pipe = nlp.get_pipe(upstream[0])
    listening: list[str] = pipe.listening_components  # type: ignore[attr-defined]
    if len(listening) != 1:
        raise PipelineError(
            f"{refused}one pipe has to listen to '{upstream[0]}', and {len(listening)} do "
            f"({', '.join(listening) or 'none'})."
        )
    (name,) = listening
    tok2vec = configs[name].get("tok2vec", {})
    if configs[name].get("@architectures") != HEAD or tok2vec.get("@architectures") != LISTENER:
        raise PipelineError(
            f"{refused}'{name}', which listens to '{upstream[0]}', has to be a btl_ner with the "
            f"model {HEAD} over {LISTENER}."
        )
    return _Place(upstream[0], name, pipe.model)  # type: ignore[attr-defined]


def _replace_encoder(
    nlp: Language, place: _Place, precision: Precision, docs: Sequence[Doc]
) -> None:
    """Put a compiled encoder into a loaded pipeline."""
    config = nlp.get_pipe_config(place.upstream)["model"]
    network, windows = place.encoder.transformer, place.encoder.attrs["get_spans"]
    width = network.config.hidden_size
    shared = trained_shim_of(place.encoder.layers[0]).wordpieces
    tokenizer = WordpieceTokenizer.from_dict(shared.to_dict())
    ner_config = nlp.get_pipe_config(place.ner)["model"]
    settings = {
        "@architectures": COMPILED,
        "pooling": ner_config["tok2vec"]["pooling"],
        "window": config["window"],
        "overlap": config["overlap"],
        "max_wordpieces": config["max_wordpieces"],
    }
    ner_config["tok2vec"] = {
        "@architectures": "spacy.Tok2VecListener.v1",
        "width": width,
        "upstream": ner_config["tok2vec"]["upstream"],
    }
    _move_head(nlp.get_pipe(place.ner), ner_config)
    nlp.replace_pipe(place.upstream, "tok2vec", config={"model": settings})
    compiled = nlp.get_pipe(place.upstream).model  # type: ignore[attr-defined]
    compiled.set_dim("nO", width)
    model = export(network, windows.window, with_types=tokenizer.with_types)
    if precision == "int8":
        model = quantize(model, _sample(docs, windows, tokenizer))
    elif precision == "int8-weights":
        model = round_weights(to_network(model, "bf16", width))
    shim_of(compiled).hold(to_network(model, precision, width), tokenizer)


def _move_head(ner: Any, config: dict[str, Any]) -> None:
    """Give a `btl_ner` a model over another listener, with the head that it has."""
    old, new = ner.model.layers[-1], registry.resolve({"model": config})["model"]
    head = new.layers[-1]
    for layer in (new, head, head.layers[0]):
        layer.set_dim("nO", old.layers[0].get_dim("nO"))
    head.layers[0].set_dim("nI", old.layers[0].get_dim("nI"))
    for name in old.layers[0].param_names:
        head.layers[0].set_param(name, old.layers[0].get_param(name))
    ner.model = new


def _sample(
    docs: Sequence[Doc], windows: WordpieceWindows, tokenizer: WordpieceTokenizer
) -> list[Inputs]:
    """Windows of docs, evenly chosen, each by itself without padding."""
    batch = windows(docs, tokenizer.read(docs), tokenizer)
    rows = range(0, len(batch.ids), -(-len(batch.ids) // CALIBRATION_WINDOWS))
    parts = [np.s_[row : row + 1, : int(batch.mask[row].sum())] for row in rows]
    return [
        make_inputs(
            batch.ids[part], batch.mask[part], None if batch.types is None else batch.types[part]
        )
        for part in parts
    ]


def _compare(trained: Language, nlp: Language, place: _Place, docs: Sequence[Doc]) -> float:
    """The mean cosine between the vectors of tokens."""
    compiled = nlp.get_pipe(place.upstream).model  # type: ignore[attr-defined]
    encoder = trained.get_pipe(place.upstream).model  # type: ignore[attr-defined]
    reference = windowed_tok2vec(encoder, compiled.layers[0])
    cosines = []
    for doc in filter(len, docs):
        (found,), (expected,) = compiled.predict([doc]), reference.predict([doc])
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
        seen = lengths > 0
        cosines.append((found * expected).sum(axis=1)[seen] / lengths[seen])
    return float(np.concatenate(cosines).mean()) if cosines else 1.0


def _identical(trained: Language, nlp: Language, docs: Sequence[Doc]) -> float | None:
    found, expected = (
        {
            (number, span.start, span.end, span.label_)
            for number, doc in enumerate(pipeline.pipe(doc.text for doc in docs))
            for span in [*doc.ents, *(span for group in doc.spans.values() for span in group)]
        }
        for pipeline in (nlp, trained)
    )
    return len(found & expected) / len(found | expected) if found | expected else None


def _fit_maps(
    nlp: Language, precision: Precision, calibration: Path | None, corpus: Sequence[Doc]
) -> str:
    """Fit the calibration maps to the compiled network, if there are documents to do so."""
    pipe = find_calibrator(nlp)
    if pipe is None or pipe.calibrator.maps is None:
        return "the pipeline has no calibration maps"
    if precision == "fp32":
        return "the calibration maps are as they were: the vectors are the same"
    if calibration is None:
        return "the calibration maps are as they were, fitted to float32: --calibration fits them"
    had = same_text(corpus, training_docs(nlp))
    here = [nlp.make_doc(doc.text) for doc in corpus]
    had |= in_datastore(pipe.calibrator.fitted_datastore(), here)
    held_out = [doc for doc in compress(corpus, ~had) if doc.has_annotation("ENT_IOB")]
    if len(held_out) < ENOUGH_HELD_OUT:
        warnings.warn(
            f"{calibration} has {counted(len(held_out), 'annotated document')} that the network "
            f"and the calibrator did not have, and {ENOUGH_HELD_OUT} are needed: the calibration "
            "maps stay those of float32.",
            BtlWarning,
            stacklevel=3,
        )
        return "the calibration maps are as they were, fitted to float32"
    pipe.fit_maps(Corpus(calibration).make_examples(nlp, held_out))
    return f"the calibration maps are fitted anew, to {counted(len(held_out), 'document')}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
