"""Cross-validation of a choice of settings, over documents or patients."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.calibration.fit import fit_tokens
from spacy_btl.calibration.held_out import part
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import counted
from spacy_btl.metrics.bootstrap import bootstrap
from spacy_btl.metrics.counts import Counts, Weights, total, weighted
from spacy_btl.metrics.scores import scores
from spacy_btl.training.judge import Judge, Scores

FOLDS = 5
ENOUGH = 100  # documents to choose by


class Gain(NamedTuple):
    """A score before and after, and the 95% interval of the difference."""

    before: float
    after: float
    low: float
    high: float


@dataclass(frozen=True)
class Validation:
    """The present settings against settings chosen on other documents.

    documents (int): How many were sampled from; of patients with several, the patients.
    gains (Dict[str, Gain]): By the fields of `Scores`.
    """

    documents: int
    gains: dict[str, Gain]

    @property
    def is_clear(self) -> bool:
        """Whether UAR, which is what is chosen by, gains, and nothing else loses, both by the
        intervals."""
        others = (gain for name, gain in self.gains.items() if name != "tag_uar")
        return self.gains["tag_uar"].low > 0 and all(gain.high >= 0 for gain in others)


def validate(
    judge: Judge,
    p_knn: Probabilities,
    patients: NDArray[np.int64],
    *,
    present: Settings,
    choose: Callable[[Judge, Probabilities], Settings],
) -> Validation | None:
    """Choose settings five times, each time without a fifth of the documents, and score them there.

    p_knn (float64 [S, C]): Probabilities by the neighbours of the tokens that the encoder saw.
    patients (int64 [D]): The patient of each document; one of its own where not known.
    present (Settings): What the chosen settings are compared with.
    choose (Callable): Chooses settings.
    RETURNS (Optional[Validation]): None for fewer than two patients.
    """
    if patients.max(initial=0) < 1:
        return None
    rows = [
        row
        for inside in _folds(patients)
        for row in _compare(judge, p_knn, patients, inside, present, choose)
    ]
    before, after = (
        {name: np.stack([counts[name] for counts in per_patient]) for name in per_patient[0]}
        for per_patient in zip(*rows, strict=True)
    )

    def differences(weights: Weights) -> dict[str, NDArray[np.float64]]:
        old, new = (scores(weighted(counts, weights)) for counts in (before, after))
        return {name: new[name] - old[name] for name in Scores._fields}

    old, new = (Scores.of(total(counts)) for counts in (before, after))
    gains = {
        name: Gain(getattr(old, name), getattr(new, name), float(gain.low), float(gain.high))
        for name, gain in bootstrap(len(rows), differences, seed=0).items()
    }
    return Validation(len(rows), gains)


def advise(validation: Validation | None, model: str) -> Iterator[str]:
    """What speaks against chosen settings, in sentences.

    model (str): The pipeline with the present ones, as it is named to the user.
    """
    if validation is None or validation.documents < ENOUGH:
        n = 1 if validation is None else validation.documents
        chosen_on = counted(n, "document")
        yield f"Settings that are chosen on {chosen_on} hold badly for others: give {ENOUGH}."
    if validation is None or not validation.is_clear:
        yield (
            f"No clear gain: keep the present settings of {model}, unless you have other grounds. "
            "A gain is clear where the interval of UAR is above 0 and no other is below it."
        )


def _folds(patients: NDArray[np.int64]) -> Iterator[NDArray[np.bool_]]:
    """Which documents [D] are in each fold; a patient's are in one."""
    n = int(patients.max()) + 1
    folds = np.random.default_rng(0).permutation(n) % FOLDS
    return (folds[patients] == fold for fold in range(min(FOLDS, n)))


def _compare(
    judge: Judge,
    p_knn: Probabilities,
    patients: NDArray[np.int64],
    inside: NDArray[np.bool_],
    present: Settings,
    choose: Callable[[Judge, Probabilities], Settings],
) -> Iterator[tuple[Counts, Counts]]:
    """The counts of each patient of a fold by the present settings and by chosen ones.

    The maps are fitted to the other documents, on which the settings are chosen.
    """
    others, others_knn = _part(judge, p_knn, ~inside)
    chosen = choose(others, others_knn)
    token_map = fit_tokens(others.held_out, others_knn, judge.datastore)
    sides = []
    for settings in (present, chosen):
        p = others.probabilities(token_map, others_knn, settings.knn_weight)
        sides.append((settings, others.fit_mentions(p, settings)))
    for patient in np.unique(patients[inside]):
        here, here_knn = _part(judge, p_knn, patients == patient)
        yield tuple(  # type: ignore[misc]
            here.counts(
                here.probabilities(token_map, here_knn, settings.knn_weight), settings, mention_map
            )
            for settings, mention_map in sides
        )


def _part(
    judge: Judge, p_knn: Probabilities, documents: NDArray[np.bool_]
) -> tuple[Judge, Probabilities]:
    kept = documents[judge.held_out.documents[judge.held_out.seen]]
    return replace(judge, held_out=part(judge.held_out, documents)), p_knn[kept]
