"""Running a cell of an experiment: keep the logits or entities of its network, or of the average of
several, and decode them. Finished work is not repeated."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from spacy import blank
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from srsly import read_json

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import FileError
from spacy_btl.evaluation.predictions import find_group, predict
from spacy_btl.experiments.config import Decoding
from spacy_btl.experiments.networks import (
    COST,
    PIPELINE,
    SPEED,
    is_trained,
    network_folder,
    train_network,
)
from spacy_btl.experiments.plan import PARTS, PREDICTED, Cell, Network, counts_name
from spacy_btl.files import write_file
from spacy_btl.gpu import use_gpu
from spacy_btl.metrics.counts import patient_counts, save_counts
from spacy_btl.metrics.rows import Group
from spacy_btl.pipeline.annotations import set_entities, set_spans
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator
from spacy_btl.pipelines import load_pipeline
from spacy_btl.training.average import average
from spacy_btl.training.crossfit import CrossFit, fit_crossfit
from spacy_btl.training.ensemble import ensemble
from spacy_btl.training.tune import tune_calibrator

GROUP = Group("predicted")  # of another library's mentions


def untrained(cell: Cell, cache: Path) -> list[Network]:
    """The networks that a cell still needs: none once its logits are kept."""
    if cell.predicted or (cache / cell.key / _logits("test")).is_file():
        return []
    return [network for network in cell.networks if not is_trained(network, cache)]


def run_cell(cell: Cell, cache: Path, *, gpu: int = -1) -> Path:
    """Train the networks of a cell, keep its logits and cost, and decode it; only what is missing.

    cache (Path): Holds a folder for each cell, named by its key. An interrupted run leaves a
        folder that ends in ".part", which the next run deletes. A cell may lack its logits, which
        are large: it is trained again when a new decoding needs them. Counts of decodings of other
        experiments are left alone.
    gpu (int): As for `spacy train`; -1 is the CPU.
    RAISES: PipelineError, if the training fails.
    """
    folder = cache / cell.key
    torch.set_num_threads(cell.threads)
    if not (folder / _logits("test")).is_file():
        for network in untrained(cell, cache):
            train_network(network, cache, gpu=gpu)
        for left in cache.glob(f"{cell.key}-*.part"):
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(dir=cache, prefix=f"{cell.key}-", suffix=".part"))
        if cell.predicted:
            _keep_predictions(cell, cell.predicted, part)
        else:
            pipelines = [network_folder(network, cache) / PIPELINE for network in cell.networks]
            _keep_logits(cell, pipelines, part, gpu)
        cost = _cost(cell, cache)
        write_file(part / COST, json.dumps(cost, indent=2).encode("utf-8"))
        _put_in_place(part, folder, [counts_name(d) for d in cell.decodings.values()])
    for decoding in cell.decodings.values():
        if not (folder / counts_name(decoding)).is_file():
            _decode(cell, folder, decoding, gpu)
    return folder


def _put_in_place(part: Path, folder: Path, stale: Iterable[str]) -> None:
    """Rename PART to the cell's folder, or move its files into the existing one. The logits mark a
    trained cell and are moved last, so an interrupted move is repeated."""
    if not folder.exists():
        part.rename(folder)
        return
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == _logits("test")):
        if (folder / path.name).is_dir():
            shutil.rmtree(folder / path.name)
        path.replace(folder / path.name)
    part.rmdir()


def _cost(cell: Cell, cache: Path) -> dict[str, Any]:
    """The cost of the cell, as if it shared its networks with no other."""
    folders = [network_folder(network, cache) for network in cell.networks]
    folders = [cell.predicted] if cell.predicted else folders
    costs = [read_json(folder / COST) for folder in folders]
    return {
        "corpus": cell.corpus,
        "arm": cell.arm,
        "fold": cell.fold,
        "seed": cell.seed,
        **{
            name: round(sum(cost[name] for cost in costs), 1)
            for name in ("optimizer_steps", "encoder_passes", "seconds")
        },
        "peak_memory_mb": max(cost["peak_memory_mb"] for cost in costs),
        **{name: costs[0][name] for name in ("precision", "threads", "gpu")},
        **{name: costs[0][name] for name in (SPEED,) if name in costs[0]},
    }


def _keep_logits(cell: Cell, pipelines: Sequence[Path], folder: Path, gpu: int) -> None:
    """Write a trained pipeline, or the average of several, to FOLDER/pipeline without its encoder,
    which is large (an ensemble's encoders are in its `ner`), and the documents with its logits and
    entities beside it."""
    use_gpu(gpu)
    if len(pipelines) == 1:
        shutil.copytree(pipelines[0], folder / "pipeline")
    else:
        combine = ensemble if cell.ensemble else average
        combine([str(pipeline) for pipeline in pipelines], folder / "pipeline")
    nlp = load_pipeline(str(folder / "pipeline"))
    nlp.add_pipe("doc_cleaner")
    for part in PARTS:
        references = read_docs(cell.documents[part], nlp.vocab)
        docs = nlp.pipe([nlp.make_doc(doc.text) for doc in references], batch_size=16)
        write_docs(folder / _logits(part), docs)
        shutil.copyfile(cell.documents[part], folder / f"{part}.spacy")
    shutil.rmtree(folder / "pipeline" / "transformer", ignore_errors=cell.ensemble)


def _keep_predictions(cell: Cell, source: Path, folder: Path) -> None:
    """Write an empty pipeline, and the test documents with the mentions that another library
    predicted: a line per document in SOURCE, [[start, end, type, confidence], ...] by characters.
    Entities can have null as their confidence.

    RAISES: FileError, for other lines.
    """
    nlp = blank(cell.networks[0].config["nlp"]["lang"])
    nlp.to_disk(folder / "pipeline")
    references = read_docs(cell.documents["test"], nlp.vocab)
    docs = [nlp.make_doc(doc.text) for doc in references]
    try:
        lines = (source / PREDICTED).read_text(encoding="utf-8").splitlines()
        for doc, line in zip(docs, lines, strict=True):
            _set_predicted(doc, json.loads(line), flat=cell.flat)
    except (OSError, TypeError, ValueError):
        raise FileError(
            f"{source / PREDICTED}: not the predictions of the {len(docs)} test documents of "
            f"{cell.name}: a line each, its mentions as [start, end, type, confidence]"
            f"{', none of which overlaps another' if cell.flat else ''}."
        ) from None
    write_docs(folder / _logits("test"), docs)
    shutil.copyfile(cell.documents["test"], folder / "test.spacy")


def _set_predicted(
    doc: Doc, mentions: Sequence[tuple[int, int, str, float]], *, flat: bool
) -> None:
    found: dict[Span, float] = {}
    for start, end, label, confidence in mentions:
        span = doc.char_span(start, end, label, alignment_mode="expand")
        if span is None:
            raise ValueError("a mention outside the text")
        found[span] = confidence
    spans = sorted(found, key=lambda span: (span.start, span.end, span.label_))
    labels = {span.label_ for span in spans}
    confidences = [found[span] for span in spans]
    if flat:
        set_entities(doc, spans, confidences, labels=labels)
    else:
        set_spans(doc, GROUP.spans_key, spans, confidences, labels=labels)


def _decode(cell: Cell, folder: Path, decoding: Decoding, gpu: int) -> None:
    """Decode the kept logits, and write counts per test document or patient."""
    nlp = load_pipeline(str(folder / "pipeline"), exclude=["transformer"])
    group = GROUP if cell.predicted and not cell.flat else find_group(nlp)
    if not cell.predicted:
        nlp.disable_pipe("ner")  # the docs have its logits or mentions
        if isinstance(nlp.get_pipe("ner"), BtlNer):
            _add_calibrator(nlp, cell, folder, decoding, gpu)
    predictions = predict(nlp, _examples(folder, "test", nlp), group=group)
    counts = patient_counts(predictions)
    save_counts(folder / counts_name(decoding), counts, predictions.classes)


def _add_calibrator(nlp: Language, cell: Cell, folder: Path, decoding: Decoding, gpu: int) -> None:
    search = {"@misc": "spacy_btl.SklearnSearch.v1"}  # exact
    config = {"search": search, **decoding.calibrator}
    pipe = cast(KnnCalibrator, nlp.add_pipe("knn_calibrator", config=config))
    if decoding.fit_on == "crossfit":
        cell.networks[0].config.to_disk(folder / "train.cfg")
        how = CrossFit(folder / "train.cfg", {}, gpu=gpu, threads=cell.threads)
        ner = cast(BtlNer, nlp.get_pipe("ner"))
        fit_crossfit(pipe, ner, folder / "train.spacy", how, folder / "crossfit")
    elif pipe.calibrator.settings.needs_rows or decoding.tune:
        pipe.fit(_examples(folder, decoding.fit_on, nlp))
    if decoding.tune:
        tune_calibrator(pipe, _examples(folder, "dev", nlp))
    elif decoding.map_on_dev:
        pipe.fit_maps(_examples(folder, "dev", nlp))


def _examples(folder: Path, part: str, nlp: Language) -> list[Example]:
    docs: Iterable[Doc] = read_docs(folder / _logits(part), nlp.vocab)
    references = read_docs(folder / f"{part}.spacy", nlp.vocab)
    return [Example(doc, reference) for doc, reference in zip(docs, references, strict=True)]


def _logits(part: str) -> str:
    return f"{part}-logits.spacy"
