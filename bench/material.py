"""What is measured: notes, encoders and pipelines."""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from numpy.typing import NDArray
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from transformers import AutoTokenizer, BertConfig, BertModel

from bench.pipelines import CALIBRATOR
from bench.ratios import UnavailableError
from spacy_btl.calibration.datastore import LabelledRows
from spacy_btl.corpora.docbin import read_docs
from spacy_btl.formats.convert import convert

ROOT = Path(__file__).parent.parent
# Notes that the pipelines below have not seen come first.
NOTES = ("corpus/maccrobat/test.spacy", "assets/maccrobat2020", "assets/demo")
MODELS = ("training/maccrobat/calibrated", "training/demo/pipeline")
# Trained on the same notes with `spans_key`, and calibrated.
OVERLAPPING = ("training/maccrobat-overlapping/calibrated", "training/demo-overlapping/calibrated")
ENCODER = "assets/minilm"
CONFIG = ROOT / "configs" / "minilm.cfg"
BASE_NOTES = 8  # the encoder of BioBERT's size has eight times the work
SPREAD = 0.2  # how far a row is from a real one, in differences of real ones
MIN_MENTIONS = 40  # of a type, as in project.yml
STORE_ROWS = 87_096  # tokens of MACCROBAT's training documents
SETTINGS = {"knn_weight": 0.25, "tau": 0.15, "transition_weight": 0.15}  # as in project.yml


@dataclass(frozen=True)
class Setup:
    """What `python -m bench` is told to measure, and on what."""

    work: Path
    notes: Path | None
    encoder: Path | None
    model: Path | None
    overlapping: Path | None
    n_notes: int
    repeats: int
    gpu_id: int
    stream: int
    characters: int
    lines: Sequence[int] | None = None  # of a note, in turn; None leaves notes as they are

    @cached_property
    def sources(self) -> dict[str, str]:
        """What is measured on, as far as it is there: the last two parts of each path."""
        found = {}
        for name in ("notes_path", "minilm", "model_path"):
            with suppress(UnavailableError):
                path = getattr(self, name).resolve()
                found[name.removesuffix("_path")] = f"{path.parent.name}/{path.name}"
        return found

    @cached_property
    def notes_path(self) -> Path:
        """The file or folder of the notes."""
        return _find(self.notes, NOTES, "notes")

    @cached_property
    def corpus(self) -> Path:
        """The notes as a `.spacy` file."""
        path = self.notes_path
        if not path.is_dir():
            return path
        corpus = self.work / "notes.spacy"
        convert(path, corpus, min_mentions=MIN_MENTIONS if "maccrobat" in path.name else 1)
        return corpus

    @cached_property
    def docs(self) -> list[Doc]:
        """All notes with their entities."""
        return self._read(spacy.blank("en"))

    def _read(self, nlp: Language) -> list[Doc]:
        docs = read_docs(self.corpus, nlp.vocab)
        random.Random(0).shuffle(docs)  # the files are sorted by their names
        return docs

    @cached_property
    def texts(self) -> list[str]:
        """The text of as many notes as inference is measured on; cut up where that is asked for."""
        texts = [doc.text for doc in self.docs[: self.n_notes]]
        return texts if self.lines is None else list(_cut_lines(texts, self.lines))

    @cached_property
    def minilm(self) -> Path:
        """The folder of the MiniLM encoder."""
        return _find(self.encoder, (ENCODER,), "encoder (python -m spacy project run encoder)")

    @cached_property
    def base(self) -> Path:
        """A BERT of BioBERT's size (12 layers of 768), of random weights."""
        return self._bert("base")

    @cached_property
    def tiny(self) -> Path:
        """A BERT that costs next to nothing: what is left is our own cost."""
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        return self._bert("tiny", **sizes, intermediate_size=64)

    def _bert(self, name: str, **sizes: int) -> Path:
        folder = self.work / name
        tokenizer = AutoTokenizer.from_pretrained(self.minilm)
        torch.manual_seed(0)
        BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    @cached_property
    def model_path(self) -> Path:
        """A trained and calibrated pipeline: logits of an untrained one are not like real ones."""
        return _find(self.model, MODELS, "trained and calibrated pipeline (make demo)")

    @cached_property
    def overlapping_path(self) -> Path:
        """The same trained with `spans_key`."""
        return _find(self.overlapping, OVERLAPPING, "pipeline trained with spans_key")

    def trained(self, **encoder: Any) -> Language:
        """The trained pipeline, with other settings of its encoder if they are given."""
        config = {f"components.transformer.model.{name}": value for name, value in encoder.items()}
        nlp = spacy.load(self.model_path, config=config)
        nlp.max_length = max(nlp.max_length, self.characters + 1)
        return nlp

    def pipeline(self, **encoder: Any) -> Language:
        """The trained pipeline, with as many labelled rows as MACCROBAT gives."""
        nlp = self.trained(**encoder)
        _fill_store(nlp, STORE_ROWS)
        return nlp

    def untrained(self, encoder: Path, **overrides: Any) -> Language:
        """The pipeline of configs/minilm.cfg, initialized on the notes."""
        settings = {"paths.encoder": str(encoder), **overrides}
        config = util.load_config(CONFIG, overrides=settings, interpolate=True)
        nlp = util.load_model_from_config(config, auto_fill=True)
        util.fix_random_seed(0)
        nlp.initialize(lambda: self.examples(nlp))
        return nlp

    def calibrated(self, encoder: Path, *, fitted_to: int, rows: int = STORE_ROWS) -> Language:
        """The same with a calibrator and a cleaner; its logits say nothing of the tags.

        fitted_to (int): Notes that the calibrator is fitted to.
        rows (int): Labelled rows that it is given at least.
        """
        nlp = self.untrained(encoder)
        nlp.add_pipe(CALIBRATOR, config=SETTINGS).fit(self.examples(nlp)[:fitted_to])
        _fill_store(nlp, rows)
        attrs = {"_.token_logits": None, "_.token_probabilities": None, "_.trf_data": None}
        nlp.add_pipe("doc_cleaner", config={"attrs": {**attrs, "tensor": None}})
        return nlp

    def base_pipeline(self) -> "tuple[Setup, Language]":
        """Fewer notes, and a pipeline of BioBERT's size for them.

        Untrained: its kNN votes on logits that say nothing, so that no short cut can be taken.
        """
        setup = replace(self, n_notes=BASE_NOTES)
        return setup, setup.calibrated(self.base, fitted_to=BASE_NOTES)

    def examples(self, nlp: Language) -> list[Example]:
        """The notes as fresh training examples."""
        return [Example(nlp.make_doc(doc.text), doc) for doc in self._read(nlp)]


def _cut_lines(texts: Sequence[str], numbers: Sequence[int]) -> Iterator[str]:
    """Notes of so many lines, in turn."""
    lines = iter("\n".join(texts).splitlines())
    for number in cycle(numbers):
        note = "\n".join(islice(lines, number))
        if not note:
            return
        yield note


def draw_rows(rows: LabelledRows, n_rows: int, seed: int = 0) -> LabelledRows:
    """As many labelled rows as are wanted, drawn like real ones.

    A row is a real one, moved by a fraction of the difference of two others of its tag: so drawn
    rows lie in the directions in which real ones differ.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(rows.tags), n_rows)
    by_tag = np.argsort(rows.tags, kind="stable")
    counts = np.bincount(rows.tags)
    first = np.cumsum(counts) - counts
    tags = rows.tags[chosen]

    def others() -> NDArray[np.float32]:
        places = first[tags] + (rng.random(n_rows) * counts[tags]).astype(int)
        return rows.logits[by_tag[places]]

    logits = rows.logits[chosen] + np.float32(SPREAD) * (others() - others())
    moved = {name: getattr(rows, name)[chosen] for name in ("tags", "documents", "starts", "ends")}
    return LabelledRows(logits=logits, **moved)


def _fill_store(nlp: Language, n_rows: int) -> None:
    """See to it that about so many rows are searched."""
    pipe = nlp.get_pipe(CALIBRATOR)
    maps, rows = pipe.calibrator.maps, pipe.calibrator.datastore
    if len(rows.tags) < n_rows / 2:
        pipe.fit_rows(draw_rows(rows, n_rows))
        pipe.calibrator.maps = maps


def _find(given: Path | None, usual: Sequence[str], what: str) -> Path:
    paths = [given] if given else [ROOT / name for name in usual]
    for path in paths:
        if path.exists():
            return path
    raise UnavailableError(f"no {what}: looked for {', '.join(map(str, paths))}")


def with_repeats(setup: Setup, repeats: int) -> Setup:
    """The same with fewer repeats, for what takes long."""
    return replace(setup, repeats=min(repeats, setup.repeats))
