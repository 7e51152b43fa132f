"""What the tests of all packages share: a tiny BERT made on the spot, and a small corpus."""

import subprocess
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path

import joblib
import numpy as np
import pytest
import spacy
import torch
from hypothesis import settings
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from thinc.api import Optimizer
from transformers import BertConfig, BertModel, BertTokenizerFast

from spacy_btl.lines import read_lines
from spacy_btl.tags import TagScheme
from spacy_btl.training.add_context import add_context
from spacy_btl.training.calibrate import calibrate

# The same examples on every run, however slow the machine.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

# joblib counts the processor's cores once, by a process, when scikit-learn first asks.
joblib.cpu_count(only_physical_cores=True)


@pytest.fixture(autouse=True)
def _no_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a test that is marked as slow starts a process."""
    if request.node.get_closest_marker("slow"):
        return

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("This test starts a process: mark it with pytest.mark.slow.")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(BaseProcess, "start", refuse)


VOCABULARY = (
    "the a of and no fever cough pain chest severe mild crp was 84 mg / l patient had today in "
    "left arm given aspirin daily note . , ( ) ##s ##er ##in ##a ##e ##o a b c d e f g h i j k l m "
    "n o p q r s t u v w x y z 0 1 2 3 4 5 6 7 8 9"
)
WORDS = VOCABULARY.split()

# The settings of the paper: neighbours alone, and each token by itself.
PAPER = {"knn_weight": 1.0, "tau": 0.0, "transition_weight": 0.0}

# (text, [(start, end, type)]): three types, one of them rare.
SENTENCES = [
    (
        "the patient had severe fever and cough",
        [(16, 22, "Severity"), (23, 28, "Sign"), (33, 38, "Sign")],
    ),
    ("crp was 84 mg / l today", [(0, 3, "Test"), (8, 17, "Value")]),
    ("pain in the left arm , no fever", [(0, 4, "Sign"), (26, 31, "Sign")]),
    ("given aspirin daily", []),
]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and 32 dimensions, saved as `from_pretrained` reads it."""
    return make_tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


def make_tiny_bert(folder: Path, *, words: Sequence[str] = WORDS, max_wordpieces: int = 64) -> Path:
    """Save a BERT of random weights that knows some words: those of the sentences."""
    folder.mkdir(exist_ok=True)
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(words)]
    vocab += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocab)), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(dict.fromkeys(vocab)),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=max_wordpieces,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer = BertTokenizerFast(
        vocab_file=str(folder / "vocab.txt"), model_max_length=max_wordpieces
    )
    tokenizer.save_pretrained(folder)
    return folder


NO_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def bert_pipeline(
    tiny_bert: Path,
    *,
    scheme: str = "IO",
    loss: dict | None = None,
    encoder: dict | None = None,
    dropout: bool = True,
) -> Language:
    """transformer > ner, not initialized. A test that repeats a step exactly turns dropout off."""
    nlp = spacy.blank("en")
    nlp.add_pipe(
        "transformer",
        config={
            "model": {
                "@architectures": "spacy_btl.WindowedTransformer.v1",
                "name": str(tiny_bert),
                "window": 48,
                "overlap": 8,
                "transformer_config": {} if dropout else NO_DROPOUT,
                **(encoder or {}),
            }
        },
    )
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    config = {
        "scheme": scheme,
        "model": {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": listener},
    }
    if loss is not None:
        config["loss"] = loss
    nlp.add_pipe("btl_ner", name="ner", config=config)
    return nlp


@Language.component("tests_merge", retokenizes=True)
def merge_two_tokens(doc: Doc) -> Doc:
    with doc.retokenize() as retokenizer:
        retokenizer.merge(doc[0:2])
    return doc


def make_examples(nlp: Language, repeat: int = 1) -> list[Example]:
    """The sentences as fresh examples."""
    return [
        Example.from_dict(nlp.make_doc(text), {"entities": entities})
        for text, entities in SENTENCES * repeat
    ]


def make_corpus(nlp: Language, repeat: int = 1, *, ending: str = "") -> list[Doc]:
    """The sentences as annotated docs, none the copy of another: each repetition ends with one full
    stop more, after an ending if there is one."""
    endings = [ending + i * " ." for i in range(repeat)]
    return [
        Example.from_dict(nlp.make_doc(text + end), {"entities": entities}).reference
        for end in endings
        for text, entities in SENTENCES
    ]


def decode_tokens(scheme: TagScheme, doc: Doc, tag_ids: np.ndarray) -> list[Span]:
    """The entities of one tag per token; the tags of white space are not read."""
    lines = read_lines(doc)
    return scheme.decode(doc, tag_ids[lines.words], lines)


def train(nlp: Language, *, steps: int = 30, seed: int = 0) -> Language:
    """Initialize a pipeline on the sentences and train it until it knows them."""
    spacy.util.fix_random_seed(seed)
    optimizer = nlp.initialize(lambda: make_examples(nlp))
    optimizer.learn_rate = 0.005
    for _ in range(steps):
        step(nlp, make_examples(nlp, repeat=2), optimizer)
    return nlp


def step(nlp: Language, examples: list[Example], optimizer: Optimizer) -> dict[str, float]:
    """One optimizer step as `spacy train` takes it. Left to step by itself, `nlp.update` moves the
    encoder before the gradient of its listener arrives."""
    losses = nlp.update(examples, sgd=False)
    for _, pipe in nlp.pipeline:
        pipe.finish_update(optimizer)
    return losses


@pytest.fixture(scope="session")
def trained(tiny_bert: Path) -> Language:
    """A trained transformer > ner pipeline. Shared: do not change it; reload it to add pipes."""
    return train(bert_pipeline(tiny_bert))


@pytest.fixture(scope="session")
def trained_path(trained: Language, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on disk: `spacy.load` it for a copy of your own."""
    path = tmp_path_factory.mktemp("trained") / "model"
    trained.to_disk(path)
    return path


@pytest.fixture(scope="session")
def corpus_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentences, each twice, as a `.spacy` file."""
    path = tmp_path_factory.mktemp("corpus") / "sentences.spacy"
    docs = make_corpus(spacy.blank("en"), repeat=2)
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


@pytest.fixture(scope="session")
def held_out_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sentences with another ending: other documents, to fit maps on."""
    path = tmp_path_factory.mktemp("held_out") / "sentences.spacy"
    docs = make_corpus(spacy.blank("en"), ending=" today")
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


@pytest.fixture(scope="session")
def calibrated_path(trained_path, corpus_path, tmp_path_factory):
    """transformer > ner > knn_calibrator > doc_cleaner, on disk."""
    path = tmp_path_factory.mktemp("calibrated") / "model"
    calibrate(str(trained_path), corpus_path, path, settings={"n_neighbors": 3})
    return path


@pytest.fixture(scope="session")
def mapped_path(trained_path, corpus_path, held_out_path, tmp_path_factory):
    """The same with calibration maps."""
    path = tmp_path_factory.mktemp("mapped") / "model"
    settings = {"n_neighbors": 3}
    calibrate(str(trained_path), corpus_path, path, settings=settings, held_out=held_out_path)
    return path


@pytest.fixture(scope="session")
def overlapping_path(tiny_bert, tmp_path_factory):
    """transformer > ner with `spans_key`, trained on notes whose mentions overlap, on disk."""
    from tests.pipeline.test_overlapping import trained_on_notes

    path = tmp_path_factory.mktemp("overlapping") / "model"
    trained_on_notes(tiny_bert).to_disk(path)
    return path


@pytest.fixture(scope="session")
def calibrated_overlapping_path(overlapping_path, tmp_path_factory):
    """The same with a calibrator and a doc_cleaner, on disk."""
    from tests.pipeline.test_overlapping import make_examples

    folder = tmp_path_factory.mktemp("calibrated_overlapping")
    docs = [example.reference for example in make_examples(spacy.load(overlapping_path), repeat=2)]
    DocBin(docs=docs, store_user_data=True).to_disk(folder / "gold.spacy")
    settings = {"n_neighbors": 3}
    calibrate(str(overlapping_path), folder / "gold.spacy", folder / "model", settings=settings)
    return folder / "model"


@pytest.fixture(scope="session")
def asserted_path(calibrated_path, tmp_path_factory):
    """The calibrated pipeline with a btl_context behind it, on disk."""
    pytest.importorskip("negspacy", reason="pip install '.[context]' to test it")
    path = tmp_path_factory.mktemp("asserted") / "model"
    add_context(str(calibrated_path), path)
    return path
