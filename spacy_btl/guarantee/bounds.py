"""Whether the mean loss of new documents is below a limit, from the losses of a few.

It is Learn then Test (Angelopoulos et al. 2021): each setting has the null hypothesis that its mean
loss is at or above the limit, and a setting whose hypothesis is rejected is certified. Nothing is
assumed of losses but that they are between 0 and 1 and those of exchangeable documents.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Levels are promised in whole percent where the data choose them.
LEVELS = np.arange(99, 0, -1) / 100
# An estimate of the documents that are needed goes no further.
MOST_DOCUMENTS = 100_000
STEP = 1.05  # from one number of documents that is tried to the next


def p_value(losses: Floats, limit: float, risk: float) -> float:
    """The p-value of the hypothesis that the mean loss is at or above a limit.

    A gambler bets on each loss, before it is seen, that it is below the limit, by the mean and the
    variance of those before. If the hypothesis holds, his wealth exceeds 1 / p with probability p
    at most (Waudby-Smith and Ramdas 2024; the bets are those of Bates et al. 2021, proposition 5).
    It needs fewer documents than the bounds of Hoeffding and Bentkus where losses vary little.

    losses (float64 [n]): Between 0 and 1, in an order that does not depend on them.
    limit (float): Above 0 and below 1.
    risk (float): The level of the test, for which the bets are best. Any is valid.
    """
    n = np.arange(1, len(losses) + 1)
    mean = (0.5 + losses.cumsum()) / (1 + n)
    variance = (0.25 + ((losses - mean) ** 2).cumsum()) / (1 + n)
    before = np.concatenate([[0.25], variance])[: len(losses)]
    bets = np.minimum(1.0, np.sqrt(2 * np.log(1 / risk) / (max(len(losses), 1) * before)))
    log_wealth = np.log1p(bets * (limit - losses)).cumsum()
    return float(np.exp(-log_wealth.max(initial=0.0)))


def certified(
    p_value_of: Callable[[int], float], starts: NDArray[np.bool_], risk: float
) -> NDArray[np.bool_]:
    """Which settings are certified, bool [S], so that one of them or more is wrongly so with
    probability `risk` at most, whatever the dependence between them.

    They are tested in their order. Each start brings an equal share of the risk, which a setting
    that is certified hands on to the next one, and one that is not loses (the fallback procedure,
    Wiens 2003). With one start it is fixed-sequence testing.

    p_value_of (Callable[[int], float]): The p-value of a setting by its number. Their order was
        fixed before. It is not asked for where no risk is left.
    starts (bool [S]): Which settings are starts; one at least.
    """
    share, budget = risk / starts.sum(), 0.0
    passed = np.zeros(len(starts), dtype=bool)
    for i, is_start in enumerate(starts):
        budget += share * is_start
        passed[i] = budget > 0 and p_value_of(i) <= budget
        budget *= passed[i]
    return passed


def highest_level(losses: Floats, risk: float) -> float:
    """The highest level, in whole percent, that is certified of one setting; 0 without any.

    It is a lower confidence bound of 1 - mean loss, so it may be read off after looking.
    """
    certain = (level for level in LEVELS if p_value(losses, 1 - level, risk) <= risk)
    return float(next(certain, 0.0))


def documents_needed(losses: Floats, limit: float, risk: float) -> int | None:
    """About how many documents would certify a setting if they were like those that there are: the
    losses over and over, in their order. None if no number would, or too many.

    losses (float64 [n]): n > 0.
    """
    if losses.mean() >= limit:
        return None
    n = 1
    while n <= MOST_DOCUMENTS:
        if p_value(np.resize(losses, n), limit, risk) <= risk:
            return n
        n = max(n + 1, round(n * STEP))
    return None
