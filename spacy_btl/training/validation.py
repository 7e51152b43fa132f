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
from spacy_btl.training.judge import Judge, Scores, Sums, scores

FOLDS = 5
SAMPLES = 2000
LEVEL = 0.95


class Gain(NamedTuple):
    """A figure before and after, and the 95% interval of the difference."""

    before: float
    after: float
    low: float
    high: float


@dataclass(frozen=True)
class Validation:
    """Settings as they are against settings that were chosen on other documents.

    documents (int): How many were sampled from; of patients with several, the patients.
    gains (Dict[str, Gain]): By the name of a figure of `Scores`.
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
    before, after = (np.stack(sums) for sums in zip(*rows, strict=True))
    n = len(before)
    rng = np.random.default_rng(0)
    sampled = rng.multinomial(n, np.full(n, 1 / n), size=SAMPLES).astype("float64")
    samples = np.array([_difference(w @ _flat(before), w @ _flat(after)) for w in sampled])
    low, high = np.nanquantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    figures = (scores(before.sum(axis=0)), scores(after.sum(axis=0)), low, high)
    gains = (Gain(*map(float, values)) for values in zip(*figures, strict=True))
    return Validation(n, dict(zip(Scores._fields, gains, strict=True)))


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
) -> Iterator[tuple[Sums, Sums]]:
    """The sums of each patient of a fold by the present settings and by chosen ones, with a map of
    tokens that is fitted to the other documents, as the choice is."""
    others, others_knn = _part(judge, p_knn, ~inside)
    chosen = choose(others, others_knn)
    token_map = fit_tokens(others.held_out, others_knn, prior=judge.datastore.prior)
    for patient in np.unique(patients[inside]):
        here, here_knn = _part(judge, p_knn, patients == patient)
        yield tuple(  # type: ignore[misc]
            here.sums(
                token_map(
                    here.held_out.logits,
                    here_knn if settings.knn_weight else None,
                    settings.knn_weight,
                ),
                settings,
            )
            for settings in (present, chosen)
        )


def _part(
    judge: Judge, p_knn: Probabilities, documents: NDArray[np.bool_]
) -> tuple[Judge, Probabilities]:
    kept = documents[judge.held_out.documents[judge.held_out.seen]]
    return replace(judge, held_out=part(judge.held_out, documents)), p_knn[kept]


def _flat(sums: Sums) -> Sums:
    return sums.reshape(len(sums), -1)


def _difference(before: Sums, after: Sums) -> list[float]:
    both = [scores(sums.reshape(3, -1)) for sums in (before, after)]
    return [new - old for old, new in zip(*both, strict=True)]
