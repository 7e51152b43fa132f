"""Running the cells of an experiment: train, keep the logits, decode. What is done stays done."""

import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import PipelineError
from spacy_btl.evaluation.counts import document_counts, save_counts
from spacy_btl.evaluation.experiment import PARTS, Cell, Decoding, counts_name
from spacy_btl.evaluation.predictions import predict
from spacy_btl.files import write_file
from spacy_btl.pipeline.average import average
from spacy_btl.pipeline.crossfit import CrossFit, fit_crossfit
from spacy_btl.pipeline.files import load_pipeline
from spacy_btl.pipeline.training import spacy_train
from spacy_btl.pipeline.tune import tune_calibrator

COST = "cost.json"


def is_done(cell: Cell, cache: Path) -> bool:
    """Whether a cell is trained and decoded in every way."""
    folder = cache / cell.key
    return all((folder / counts_name(d)).is_file() for d in cell.decodings.values())


def run_cell(cell: Cell, cache: Path, *, gpu: int = -1, threads: int | None = None) -> Path:
    """Train, keep logits and cost, decode; only what is missing.

    cache (Path): The cell lives in a folder of its key there. A run that is cut short leaves a
        folder that ends in ".part", which the next one throws away. A cell may come without its
        logits, which are large: it is trained again if it is to be decoded in another way. Counts
        of decodings that only other experiments have stay as they are.
    gpu (int): As for `spacy train`; -1 is the CPU.
    threads (Optional[int]): CPU threads.
    RETURNS (Path): The cell's folder.
    RAISES: PipelineError, if the training fails.
    """
    folder = cache / cell.key
    if threads:
        torch.set_num_threads(threads)
    if not (folder / _logits("test")).is_file():
        for left in cache.glob(f"{cell.key}-*.part"):
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(dir=cache, prefix=f"{cell.key}-", suffix=".part"))
        cost = _train(cell, part, gpu, threads)
        _keep_logits(cell, part, gpu)
        write_file(part / COST, json.dumps(cost, indent=2).encode("utf-8"))
        _put_in_place(part, folder, [counts_name(d) for d in cell.decodings.values()])
    for decoding in cell.decodings.values():
        if not (folder / counts_name(decoding)).is_file():
            _decode(folder, decoding, gpu, threads)
    return folder


def _put_in_place(part: Path, folder: Path, stale: Iterable[str]) -> None:
    """Make PART the cell, or put its files into the one that is there. The logits that tell a
    trained cell come last, so a kill on the way loses nothing that is not made again."""
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


def _train(cell: Cell, folder: Path, gpu: int, threads: int | None) -> dict[str, Any]:
    """Leave the trained pipeline, or the average of several, in FOLDER/pipeline.

    RETURNS (Dict[str, Any]): What it cost, in all.
    """
    networks = [folder / f"network-{i}" for i in range(len(cell.configs))]
    start = time.monotonic()
    peaks = [
        _train_network(cell, config, network, gpu, threads)
        for config, network in zip(cell.configs, networks, strict=True)
    ]
    if len(networks) == 1:
        (networks[0] / "model-last").rename(folder / "pipeline")
    else:
        average([str(network / "model-last") for network in networks], folder / "pipeline")
    for network in networks:
        shutil.rmtree(network)
    trainings = [config["training"] for config in cell.configs]
    return {
        "corpus": cell.corpus,
        "arm": cell.arm,
        "fold": cell.fold,
        "seed": cell.seed,
        "optimizer_steps": sum(t["max_steps"] for t in trainings),
        "encoder_passes": sum(t["max_steps"] * t["accumulate_gradient"] for t in trainings),
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_mb": max(peaks),
        "threads": threads,
        "gpu": gpu >= 0,
    }


def _train_network(cell: Cell, config: Config, folder: Path, gpu: int, threads: int | None) -> int:
    """Run `spacy train`; its pipeline is FOLDER/model-last. RETURNS: its peak of memory, in MiB."""
    file, log = folder.with_suffix(".cfg"), folder.with_suffix(".log")
    config.to_disk(file)
    paths = {part: cell.documents[part] for part in ("train", "dev")}
    went_well, peak = spacy_train(file, folder, log, paths=paths, gpu=gpu, threads=threads)
    if not went_well:
        raise PipelineError(f"The training of '{cell.name}' failed: {log} says why.")
    return peak


def _keep_logits(cell: Cell, folder: Path, gpu: int) -> None:
    """Write the documents with their logits, and drop the encoder, which is large."""
    if gpu >= 0:
        util.require_gpu(gpu)
    nlp = load_pipeline(str(folder / "pipeline"))
    nlp.add_pipe("doc_cleaner")
    for part in PARTS:
        references = read_docs(cell.documents[part], nlp.vocab)
        docs = nlp.pipe([nlp.make_doc(doc.text) for doc in references], batch_size=16)
        write_docs(folder / _logits(part), docs)
        shutil.copyfile(cell.documents[part], folder / f"{part}.spacy")
    shutil.rmtree(folder / "pipeline" / "transformer")


def _decode(folder: Path, decoding: Decoding, gpu: int, threads: int | None) -> None:
    """Write counts per test document by one decoding of the kept logits."""
    nlp = load_pipeline(str(folder / "pipeline"), exclude=["transformer"])
    search = {"@misc": "spacy_btl.SklearnSearch.v1"}  # exact, so that results age with no search
    calibrator = nlp.add_pipe("knn_calibrator", config={"search": search, **decoding.calibrator})
    nlp.disable_pipe("ner")  # its logits are on the docs
    if decoding.fit_on == "crossfit":
        how = CrossFit(folder / "network-0.cfg", {}, gpu=gpu, threads=threads)
        fit_crossfit(
            calibrator, nlp.get_pipe("ner"), folder / "train.spacy", how, folder / "crossfit"
        )
    elif calibrator.store is None or decoding.tune:
        calibrator.fit(_examples(folder, decoding.fit_on, nlp))
    if decoding.tune:
        tune_calibrator(calibrator, _examples(folder, "dev", nlp))
    elif decoding.map_on_dev:
        calibrator.fit_map(_examples(folder, "dev", nlp))
    predictions = predict(nlp, _examples(folder, "test", nlp))
    counts = document_counts(predictions)
    save_counts(folder / counts_name(decoding), counts, predictions.classes)


def _examples(folder: Path, part: str, nlp: Language) -> list[Example]:
    docs: Iterable[Doc] = read_docs(folder / _logits(part), nlp.vocab)
    references = read_docs(folder / f"{part}.spacy", nlp.vocab)
    return [Example(doc, reference) for doc, reference in zip(docs, references, strict=True)]


def _logits(part: str) -> str:
    return f"{part}-logits.spacy"
