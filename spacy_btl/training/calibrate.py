"""Add a fitted calibrator to a trained pipeline, which is then ready to be packaged."""

import shutil
import warnings
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, cast

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Corpus

from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.settings import Settings
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.errors import BtlWarning, CalibratorError
from spacy_btl.gpu import use_gpu
from spacy_btl.metrics.scores import is_chance
from spacy_btl.pipeline.annotations import LOGITS, PROBABILITIES
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.pipeline.logits import find_ner
from spacy_btl.pipelines import forget_paths, load_pipeline, refuse_foreign_folder, save_whole
from spacy_btl.training.crossfit import CrossFit, fit_crossfit
from spacy_btl.training.trained_on import same_text, training_docs

CALIBRATOR = "knn_calibrator"
CLEANER = "doc_cleaner"


def calibrate(
    model: str,
    corpus: Path,
    output: Path,
    *,
    settings: dict[str, Any],
    held_out: Path | None = None,
    crossfit: CrossFit | None = None,
) -> Language:
    """Put a `knn_calibrator`, fitted on a corpus, behind the `btl_ner`, and a `doc_cleaner` at the
    end; save the pipeline. Pipes that read entities stay behind the calibrator, which decides them.

    model (str): A package name or a folder. Its calibrator, if it has one, is replaced; its
        `doc_cleaner` moves to the end and drops the logits too.
    corpus (Path): The `.spacy` file to fit on.
    output (Path): The folder to save to; it must be new, empty, or an earlier pipeline.
    settings (Dict[str, Any]): The settings of the `knn_calibrator`.
    held_out (Optional[Path]): A `.spacy` file of documents that neither the network nor the
        calibrator had, to fit the maps on. Those whose text they had are left out, with a warning.
    crossfit (Optional[CrossFit]): Read the corpus by networks that did not train on what they read,
        and fit the maps too. What a cut run leaves is in a hidden folder beside the output, and the
        next run goes on from there.
    RAISES: BtlError, where the model, the corpus or the output cannot be used, both ways of fitting
        the maps are given, or the training of a fold fails.

    >>> from spacy_btl import calibrate
    >>> nlp = calibrate("trained", Path("train.spacy"), Path("fitted"), settings={"n_neighbors": 3})
    >>> nlp.pipe_names
    ['transformer', 'ner', 'knn_calibrator', 'doc_cleaner']
    """
    refuse_foreign_folder(output)
    Settings(**{key: value for key, value in settings.items() if key != "ner"})
    if held_out is not None and crossfit is not None:
        raise CalibratorError(
            "Cross-fitting fits the maps on the corpus itself: give no held-out documents with it."
        )
    if crossfit is not None:
        use_gpu(crossfit.gpu)
    nlp = load_pipeline(model)
    docs = read_docs(corpus, nlp.vocab)
    held_out_docs = _read_held_out(held_out, nlp, corpus, docs) if held_out is not None else []
    attrs: dict[str, Any] = {}
    for name, factory in list(nlp.pipe_factories.items()):
        if factory == CLEANER:
            attrs |= nlp.get_pipe_config(name)["attrs"]
        if factory in (CALIBRATOR, CLEANER):
            nlp.enable_pipe(name)  # spaCy would disable its successor too
            nlp.remove_pipe(name)
    ner = find_ner(nlp, settings.get("ner", "ner"), reader=CALIBRATOR)
    calibrator = cast(KnnCalibrator, nlp.add_pipe(CALIBRATOR, config=settings, after=ner.name))
    if crossfit is None:
        calibrator.fit(Corpus(corpus).make_examples(nlp, docs))
    else:
        fit_crossfit(calibrator, ner, corpus, crossfit, _work(output))
    if held_out is not None:
        calibrator.fit_maps(Corpus(held_out).make_examples(nlp, held_out_docs))
    # By its own defaults it drops `doc._.trf_data`, too; and `doc.tensor`, without which
    # `ent.as_doc()` and `doc.vector` fail.
    cleaner: Any = nlp.add_pipe(
        CLEANER, config={"attrs": {**attrs, f"_.{LOGITS}": None, f"_.{PROBABILITIES}": None}}
    )
    if "tensor" not in attrs:
        del cleaner.cfg["attrs"]["tensor"]
    forget_paths(nlp)
    save_whole(nlp, output)
    if crossfit is not None:
        shutil.rmtree(_work(output), ignore_errors=True)
    return nlp


def learned_nothing(datastore: Datastore) -> bool:
    """Whether the network tells the classes of labelled tokens no better than chance does."""
    scheme = datastore.tag_scheme
    gold = scheme.classes(datastore.tags)
    predicted = scheme.classes(datastore.logits[:, scheme.columns].argmax(axis=-1))
    correct, annotated = (gold & predicted).sum(axis=0), gold.sum(axis=0)
    return is_chance(correct, annotated)


def _work(output: Path) -> Path:
    return output.parent / f".{output.name}-crossfit"


def _read_held_out(held_out: Path, nlp: Language, corpus: Path, docs: Sequence[Doc]) -> list[Doc]:
    """The held-out documents whose text neither the network nor the calibrator had."""
    found = read_docs(held_out, nlp.vocab)
    had = same_text(found, [*docs, *training_docs(nlp)])
    if had.all():
        raise CalibratorError(
            f"{held_out} holds what the calibrator is fitted to: maps need other documents."
        )
    if had.any():
        warnings.warn(
            f"{held_out}: {had.sum():,} of {len(found):,} documents are left out: {corpus}, or the "
            "training corpus of the network, has their text too.",
            BtlWarning,
            stacklevel=3,
        )
    return list(compress(found, ~had))
