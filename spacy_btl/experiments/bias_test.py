"""The bias test of arXiv 2409.03238: whether training on random labels preserves their shares.

Random labels do not depend on the text. The best that a network can do is to predict the classes'
shares as probabilities for every token. Their argmax is the most frequent class everywhere. Mean
probabilities that differ from the shares show a bias of the training.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import spacy
from numpy.typing import NDArray
from scipy.special import rel_entr
from spacy import registry, util
from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training import Example
from spacy.training.loop import create_train_batches, train_while_improving
from thinc.api import Config

from spacy_btl.corpora.docbin import read_docs
from spacy_btl.corpora.random_labels import (
    OUTSIDE,
    Per,
    Shares,
    read_shares,
    with_random_labels,
)
from spacy_btl.errors import CorpusError, PipelineError
from spacy_btl.evaluation.predictions import predict
from spacy_btl.metrics.predictions import Predictions
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator

HELD_OUT = 0.3  # of the documents
_ATL = "spacy_btl.AllTokenLabels.v1"


def _btl(competition: str, non_target: str, class_weights: str) -> dict[str, Any]:
    return {
        "@losses": "spacy_btl.BinaryTokenLabels.v1",
        "competition": competition,
        "non_target": non_target,
        "class_weights": class_weights,
    }


LOSSES: dict[str, dict[str, Any]] = {
    "ATL": {"@losses": _ATL},
    "ATL, complement": {"@losses": _ATL, "class_weights": "complement"},
    "BTL pair, complement": _btl("pair", "outside", "complement"),
    "BTL pair, sqrt_odds": _btl("pair", "outside", "sqrt_odds"),
    "BTL all, outside": _btl("all", "outside", "complement"),
    "BTL all, ignore, sqrt_odds": _btl("all", "ignore", "sqrt_odds"),  # the default
    "focal": {"@losses": "spacy_btl.FocalLoss.v1"},
    "dice": {"@losses": "spacy_btl.DiceLoss.v1"},
    "logit-adjusted": {"@losses": "spacy_btl.LogitAdjustedLoss.v1"},
}
# How shares are read from a network: as the shares of the predicted classes or as the mean of the
# probabilities, of the softmax or of the nearest training tokens.
READINGS = ("arg-max", "softmax", "kNN arg-max", "kNN")


@dataclass(frozen=True)
class BiasTest:
    """The settings that all runs of a test share.

    corpus (Path): The `.spacy` file.
    per (str): "token": every token that is not white space gets a random class, so that nothing
        can be learned from the text. "mention": every mention stays in place and gets a random
        type, so that places can be learned, but not types.
    config (Optional[Path]): A training config with a `btl_ner` pipe. The default is `btl_ner` with
        its default settings over spaCy's HashEmbedCNN.
    steps (int): Optimizer steps of each training.
    """

    corpus: Path
    per: Per = "token"
    config: Path | None = None
    steps: int = 100


def run_bias_test(test: BiasTest, *, shares: str, loss: str, seed: int) -> dict[str, Any]:
    """Train on random labels, and compare predictions on held-out documents with their shares.

    shares (str): As for `read_shares`.
    loss (str): One of LOSSES.
    seed (int): The random seed of the split, the labels and the training.
    RETURNS (Dict[str, Any]): `empirical`, the share of each class among the training tokens;
        `majority`, the most frequent class; `chance`, the distance of the held-out tokens' labels
        from `empirical`; and for each of READINGS its `shares` and their `distances` from
        `empirical`.
    RAISES: BtlError, for a corpus, shares or config that cannot be used.
    """
    nlp = make_pipeline(test, LOSSES[loss])
    drawn_from, train, held_out = random_examples(nlp, test, shares, seed)
    train_briefly(nlp, train, steps=test.steps, seed=seed)
    plain = predict(nlp, held_out)
    config = {"ner": _find_ner(nlp.config)}
    cast(KnnCalibrator, nlp.add_pipe("knn_calibrator", config=config)).fit(train)
    votes = predict(nlp, held_out)
    classes = plain.classes
    empirical = _training_shares(nlp, classes)

    def compare(found: NDArray[np.floating]) -> dict[str, Any]:
        return {"shares": _named(classes, found), **distances(found, empirical)}

    found = (_decided(plain), _mean(plain), _decided(votes), _mean(votes))
    return {
        "drawn": shares,
        "loss": loss,
        "seed": seed,
        "majority": max(drawn_from, key=drawn_from.__getitem__),
        "empirical": _named(classes, empirical),
        "chance": distances(_frequencies(plain.gold, len(classes)), empirical),
        "readings": dict(zip(READINGS, map(compare, found), strict=True)),
    }


def distances(found: NDArray[np.floating], empirical: NDArray[np.floating]) -> dict[str, float]:
    """The distances between two distributions of classes.

    found, empirical (float [C]): Shares; their sums are 1.
    RETURNS (Dict[str, float]): `tv`, the total variation distance, from 0 to 1; `kl`, the
        Kullback-Leibler divergence of `found` from `empirical` in nats, which is finite if
        `found` lacks a class.
    """
    return {
        "tv": float(np.abs(found - empirical).sum() / 2),
        "kl": float(rel_entr(found, empirical).sum()),
    }


def make_pipeline(test: BiasTest, loss: Mapping[str, Any]) -> Language:
    """A pipeline with a loss, not initialized.

    RAISES: PipelineError, for a config without a `btl_ner` pipe, or one that cannot be used.
    """
    config = _plain_config() if test.config is None else _read_config(test.config)
    ner = config["components"][_find_ner(config)]
    if ner.get("spans_key") is not None:
        raise PipelineError(
            "The config has a spans_key. The bias test gives every token one label and compares "
            "the shares of labels, which are no shares where a token can have several: leave it "
            "out."
        )
    ner["loss"] = dict(loss)
    config["training"]["max_steps"] = test.steps  # for learning rates that depend on it
    return util.load_model_from_config(config, auto_fill=True)


def _plain_config() -> Config:
    nlp = spacy.blank("en")
    nlp.add_pipe("btl_ner", name="ner")
    batcher = {"@batchers": "spacy.batch_by_words.v1", "size": 500, "tolerance": 0.2}
    nlp.config["training"]["batcher"] = batcher
    return nlp.config


def _read_config(path: Path) -> Config:
    try:
        return util.load_config(path)
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: not a training config ({error}).") from None


def _find_ner(config: Config) -> str:
    for name, component in config["components"].items():
        if component.get("factory") == "btl_ner":
            return name
    raise PipelineError("The config has no btl_ner pipe, so there is no loss to test.")


def random_examples(
    nlp: Language, test: BiasTest, shares: str, seed: int
) -> tuple[Shares, list[Example], list[Example]]:
    """Give a corpus random labels.

    RETURNS (Tuple[Shares, List[Example], List[Example]]): The shares that were sampled from; the
        examples of the training and of the held-out documents.
    RAISES: CorpusError, for a corpus or shares that cannot be used.
    """
    docs = read_docs(test.corpus, nlp.vocab)
    n_held_out = round(HELD_OUT * len(docs))
    if not 0 < n_held_out < len(docs):
        raise CorpusError(f"{test.corpus}: too few documents to hold any out.")
    drawn_from = read_shares(shares, docs, test.per)
    rng = np.random.default_rng(seed)
    labelled = [with_random_labels(doc, drawn_from, test.per, rng) for doc in docs]
    order = rng.permutation(len(docs))
    examples = [Example(nlp.make_doc(labelled[i].text), labelled[i]) for i in order]
    return drawn_from, examples[n_held_out:], examples[:n_held_out]


def train_briefly(nlp: Language, examples: list[Example], *, steps: int, seed: int) -> None:
    """Initialize a pipeline and train it for some steps, with the batcher and optimizer of its
    config."""
    util.fix_random_seed(seed)
    training = registry.resolve(nlp.config.interpolate()["training"], schema=ConfigSchemaTraining)
    updates = train_while_improving(
        nlp,
        nlp.initialize(lambda: examples, sgd=training["optimizer"]),
        create_train_batches(nlp, lambda _: examples, training["batcher"], 0),
        lambda: (0.0, {}),
        dropout=training["dropout"],
        eval_frequency=steps,
        accumulate_gradient=training["accumulate_gradient"],
        patience=0,
        max_steps=0,
        exclude=[],
        annotating_components=training["annotating_components"],
        before_update=None,
    )
    for _ in islice(updates, steps):
        pass


def _training_shares(nlp: Language, classes: Iterable[str]) -> NDArray[np.float64]:
    """float64 [C]: the share of each class among the training tokens."""
    ner = next(pipe for _, pipe in nlp.pipeline if isinstance(pipe, BtlNer))
    counts = np.bincount(ner.tag_scheme.tag_types, weights=ner.tag_counts)
    known = dict(zip((OUTSIDE, *ner.labels), counts / counts.sum(), strict=True))
    return np.array([known.get(label, 0.0) for label in classes])


def _frequencies(ids: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    return np.bincount(ids, minlength=n_classes) / len(ids)


def _decided(predictions: Predictions) -> NDArray[np.float64]:
    return _frequencies(predictions.predicted, len(predictions.classes))


def _mean(predictions: Predictions) -> NDArray[np.float64]:
    return np.asarray(predictions.probabilities, dtype="float64").mean(axis=0)


def _named(classes: Iterable[str], shares: NDArray[np.floating]) -> Shares:
    return dict(zip(classes, (float(share) for share in shares), strict=True))
