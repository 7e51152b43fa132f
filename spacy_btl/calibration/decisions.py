"""From probabilities to tags: token by token, or the best path through a note (Viterbi).

N tokens, C tags. Where each type decides for itself, [N, C] stands for [N, K, S], the S tags of K
decisions per token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import Probabilities
from spacy_btl.errors import CalibratorError
from spacy_btl.tags import TagScheme

# One number, or one per type.
PerType = float | dict[str, float]
Tau = PerType

# Added to the count of every pair, so that one that was never seen stays possible.
UNSEEN = 0.1


def decide(
    p: Probabilities,
    prior: Probabilities,
    tau: Probabilities,
    *,
    documents: NDArray[np.integer] | None = None,
    transitions: "Transitions | TypeTransitions | None" = None,
    transition_weight: float = 0.0,
) -> NDArray[np.integer]:
    """Decide the tag of each token: argmax(log p - tau * log prior), or the best path through them.

    p (float64 [N, C]): Probabilities of the tags; what is behind them, of borders, is left out.
    prior (float64 [C]): Training frequencies, all positive.
    tau (float64 [C]): How far to favour rare tags: 0 not at all, 1 as if all were equally frequent
        (logit adjustment, Menon et al. 2021).
    documents (Optional[int [N]]): The document of each token; one for all if it is not given. No
        path leads from one document into the next.
    transitions (Optional[Transitions | TypeTransitions]): Which tag follows which.
    transition_weight (float): Their weight in the score of a path; at 0 each token is decided by
        itself.
    RETURNS (int [N], or [N, K]): Tags.
    """
    with np.errstate(divide="ignore"):
        scores = np.log(p[..., : prior.shape[-1]]) - tau * np.log(prior)
    if transitions is None or not transition_weight:
        return scores.argmax(axis=-1)
    return transitions.best_paths(scores, transition_weight, documents)


def tau_per_tag(tau: Tau, scheme: TagScheme) -> NDArray[np.float64]:
    """The tau of each tag, float64 [C]: 0 for the types that it does not name. Where each type
    decides for itself, [K, 1]: it is the same for `O` and the tags of a type.

    RAISES: CalibratorError, for a type that is not in the scheme.
    """
    shape = (len(scheme.types), 1) if scheme.overlapping else (len(scheme.tags),)
    if not isinstance(tau, dict):
        return np.full(shape, float(tau))
    classes = scheme.types if scheme.overlapping else ("O", *scheme.types)
    _check_types("tau", tau, classes)
    names = classes if scheme.overlapping else [classes[i] for i in scheme.tag_types]
    return np.array([tau.get(name, 0.0) for name in names]).reshape(shape)


def tau_per_type(tau: Tau, scheme: TagScheme) -> NDArray[np.float64]:
    """The tau of each type, float64 [K]."""
    per_tag = tau_per_tag(tau, scheme)
    return per_tag[:, 0] if scheme.overlapping else per_tag[1 :: scheme.width]


def confidence_limits(min_confidence: PerType, types: Sequence[str]) -> NDArray[np.float64]:
    """The least confidence of a mention of each type, float64 [K]: 0 for those that are not named.

    RAISES: CalibratorError, for a type that is not among the types.
    """
    if not isinstance(min_confidence, dict):
        return np.full(len(types), float(min_confidence))
    _check_types("min_confidence", min_confidence, types)
    return np.array([min_confidence.get(label, 0.0) for label in types], dtype="float64")


def _check_types(name: str, named: dict[str, float], known: Sequence[str]) -> None:
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise CalibratorError(
            f"{name} names the types {unknown}, which the calibrator does not know. "
            f"It knows {list(known)}."
        )


def type_shifts(tau: Tau, scheme: TagScheme, prior: Probabilities) -> NDArray[np.float64]:
    """What tau adds to the log odds of each type that decides for itself, float64 [K].

    prior (float64 [K, S]): Training frequencies of the tags of each decision.
    """
    outside, inside = prior[:, 0], prior[:, 1:].sum(axis=1)
    return tau_per_type(tau, scheme) * np.log(outside / inside)


def count_pairs(tags: NDArray[np.integer], documents: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count which tag follows which.

    tags (int [M]): Tags of tokens, in the order of the text.
    documents (int [M]): Their documents.
    RETURNS (int64 [P, 3]): Tag, tag that follows, and how often; sorted, each pair once. P is
        bounded by the number of tokens, not by the square of the number of tags.
    """
    pairs = np.stack([tags[:-1], tags[1:]], axis=1)[np.diff(documents) == 0].astype("int64")
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return np.column_stack([found, counts])


@dataclass(frozen=True)
class Transitions:
    """log P(next | tag) - log P(next) = `leaving` + `entering[next]`.

    tags, following (int [P]): The pairs that were seen, sorted by `following`.
    seen (float64 [P]): What leaving is for them.
    unseen (float64 [C]): What leaving is for all other pairs, by tag.
    entering (float64 [C]): By the tag that follows.
    """

    tags: NDArray[np.integer]
    following: NDArray[np.integer]
    seen: Probabilities
    unseen: Probabilities
    entering: Probabilities

    @classmethod
    def from_pairs(cls, pairs: NDArray[np.integer], n_tags: int) -> "Transitions":
        """Estimate them from what `count_pairs` returns, with `UNSEEN` added to every count."""
        tags, following, counts = pairs[np.argsort(pairs[:, 1], kind="stable")].T
        as_first = np.bincount(tags, counts, minlength=n_tags) + UNSEEN * n_tags
        as_second = np.bincount(following, counts, minlength=n_tags) + UNSEEN * n_tags
        return cls(
            tags=tags,
            following=following,
            seen=np.log(counts + UNSEEN) - np.log(as_first[tags]),
            unseen=np.log(UNSEEN) - np.log(as_first),
            entering=np.log(as_second.sum()) - np.log(as_second),
        )

    def best_paths(
        self,
        scores: Probabilities,
        weight: float,
        documents: NDArray[np.integer] | None = None,
    ) -> NDArray[np.int64]:
        """The tags whose scores and weighted transitions have the greatest sum (Viterbi's
        algorithm).

        All documents go forward at once, so that a step costs little for each of them.

        scores (float64 [N, C]): Scores of the tags of each token, in the order of the text.
        weight (float): What transitions count against the scores.
        documents (Optional[int [N]]): The document of each token; one for all if not given.
        RETURNS (int64 [N]): Tags. Time and memory are O(N (C + P)).
        """
        if not len(scores):
            return np.zeros(0, dtype="int64")
        path = scores.argmax(axis=1)
        best, second = np.partition(scores, -2, axis=1)[:, :-3:-1].T
        sure = best - second > weight * self._reach[path]
        tokens, chains = _open_chains(sure, documents)
        if len(tokens):
            other = np.arange(scores.shape[1]) != path[tokens, None]
            open_scores = np.where(sure[tokens, None] & other, -np.inf, scores[tokens])
            path[tokens] = self._open_paths(open_scores, weight, chains)
        return path

    @cached_property
    def _reach(self) -> Probabilities:
        """How much less than to another tag the transitions around a token can give to each tag, at
        most: float64 [C]."""
        tags, following, seen, unseen = self.tags, self.following, self.seen, self.unseen
        # Of each tag, the best way out of it and the best way into it.
        out = unseen + _highest_of_others(self.entering, tags, following)
        np.maximum.at(out, tags, seen + self.entering[following])
        into = _highest_of_others(unseen, following, tags)
        np.maximum.at(into, following, seen)
        before = _highest_of_others(out - unseen, following, tags)
        np.maximum.at(before, following, out[tags] - seen)
        after = _highest_of_others(into, tags, following) - unseen
        np.maximum.at(after, tags, into[following] - seen)
        return before - self.entering + after

    def _open_paths(
        self, scores: Probabilities, weight: float, documents: NDArray[np.integer]
    ) -> NDArray[np.int64]:
        """The best path of each chain, as if it were a document."""
        seen, unseen = weight * self.seen, weight * self.unseen
        entering = weight * self.entering
        reached, starts = np.unique(self.following, return_index=True)
        best = scores.astype("float64")
        steps = _steps(len(scores), documents)
        for before, now in pairwise(steps):
            last = best[before[: len(now)]]
            arriving = np.repeat((last + unseen).max(axis=1, keepdims=True), best.shape[1], axis=1)
            if len(reached):
                along_seen = np.maximum.reduceat(last[:, self.tags] + seen, starts, axis=1)
                arriving[:, reached] = np.maximum(arriving[:, reached], along_seen)
            best[now] += arriving + entering
        return _trace(best, steps, self, seen, unseen)


@dataclass(frozen=True)
class TypeTransitions:
    """The same for each of K types by itself, between the S tags of its decision.

    log_ratios (float64 [K, S, S]): log P(next | tag) - log P(next), by tag and next tag.
    """

    log_ratios: Probabilities

    @classmethod
    def from_tags(
        cls, tags: NDArray[np.integer], documents: NDArray[np.integer], n_tags: int
    ) -> "TypeTransitions":
        """Estimate them, with `UNSEEN` added to every count.

        tags (int [M, K]): Tags of tokens, in the order of the text.
        documents (int [M]): Their documents.
        n_tags (int): S.
        """
        follows = np.diff(documents) == 0
        first, second = tags[:-1][follows], tags[1:][follows]
        counts = np.stack(
            [
                np.stack([((first == a) & (second == b)).sum(axis=0) for b in range(n_tags)], -1)
                for a in range(n_tags)
            ],
            axis=1,
        )
        p = np.log(counts + UNSEEN)
        as_first = np.log((counts + UNSEEN).sum(axis=2, keepdims=True))
        as_second = np.log((counts + UNSEEN).sum(axis=1, keepdims=True))
        total = np.log((counts + UNSEEN).sum(axis=(1, 2), keepdims=True))
        return cls(p - as_first - as_second + total)

    def best_paths(
        self,
        scores: Probabilities,
        weight: float,
        documents: NDArray[np.integer] | None = None,
    ) -> NDArray[np.int64]:
        """The best path of each type, as `Transitions.best_paths`; all types go forward at once.

        scores (float64 [N, K, S]): Scores of the tags of each decision.
        RETURNS (int64 [N, K]): Tags. Time and memory are O(N K), S being 2 or 3.
        """
        if not len(scores):
            return np.zeros(scores.shape[:2], dtype="int64")
        ratios = weight * self.log_ratios
        best = scores.astype("float64")
        steps = _steps(len(scores), documents)
        for before, now in pairwise(steps):
            last = best[before[: len(now)]]
            best[now] += (last[..., None] + ratios).max(axis=2)
        path = best.argmax(axis=-1)  # right for the last token of a document
        types = np.arange(scores.shape[1])
        for here, after in zip(steps[-2::-1], steps[:0:-1], strict=True):
            leading = here[: len(after)]
            path[leading] = (best[leading] + ratios[types, :, path[after]]).argmax(axis=-1)
        return path


def _highest_of_others(
    values: Probabilities, tags: NDArray[np.integer], partners: NDArray[np.integer]
) -> Probabilities:
    """For each tag the highest of the values of the tags that it has no pair with, float64 [C];
    -inf if it has one with all.

    values (float64 [C]): Of the partners.
    tags, partners (int [P]): The pairs.
    """
    order = np.argsort(-values, kind="stable")
    ranks = np.empty(len(values), dtype="int64")
    ranks[order] = np.arange(len(values))
    by_rank = np.lexsort((ranks[partners], tags))
    owners, found = tags[by_rank], ranks[partners][by_rank]
    counts = np.bincount(tags, minlength=len(values))
    places = np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]
    first = counts.copy()  # the first rank that is missing among a tag's partners
    np.minimum.at(first, owners[found != places], places[found != places])
    return np.append(values[order], -np.inf)[first]


def _open_chains(
    sure: NDArray[np.bool_], documents: NDArray[np.integer] | None
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Take documents apart at the tokens that are sure of their tag: what remains is many short
    chains of tokens that are not, with the sure one before and behind them.

    sure (bool [N]): Which tokens.
    RETURNS (Tuple[int [M], int [M]]): The tokens of all chains, a sure one maybe in two; and the
        number of the chain of each.
    """
    linked = ~(sure[1:] & sure[:-1])  # each token with the next one
    if documents is not None:
        linked &= np.diff(documents) == 0
    links = np.flatnonzero(linked)
    chains = np.cumsum(sure[links] | (np.diff(links, prepend=-2) > 1)) - 1
    places = np.arange(len(links)) + chains
    tokens, numbers = np.zeros((2, len(links) + len(np.unique(chains))), dtype="int64")
    tokens[places], tokens[places + 1] = links, links + 1
    numbers[places] = numbers[places + 1] = chains
    return tokens, numbers


def _steps(n_tokens: int, documents: NDArray[np.integer] | None) -> list[NDArray[np.integer]]:
    """The first tokens of all documents, the second ones, and so on; long documents come first."""
    starts = np.zeros(1, dtype="int64")
    if documents is not None:
        starts = np.append(starts, np.flatnonzero(np.diff(documents)) + 1)
    lengths = np.diff(np.append(starts, n_tokens))
    order = np.argsort(-lengths, kind="stable")
    n_longer = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
    return [starts[order[:n]] + t for t, n in enumerate(n_longer)]


def _trace(
    best: Probabilities,
    steps: list[NDArray[np.integer]],
    transitions: Transitions,
    seen: Probabilities,
    unseen: Probabilities,
) -> NDArray[np.int64]:
    """Walk back from the best ends, finding each tag's predecessor again, which needs no table."""
    path = best.argmax(axis=1)  # right for the last token of a document
    for here, after in zip(steps[-2::-1], steps[:0:-1], strict=True):
        now = here[: len(after)]
        first, last = np.searchsorted(transitions.following, [path[after], path[after] + 1])
        counts = last - first
        rows = np.repeat(np.arange(len(now)), counts)
        pairs = np.arange(counts.sum()) + np.repeat(first - np.cumsum(counts) + counts, counts)
        leaving = np.tile(unseen, (len(now), 1))
        leaving[rows, transitions.tags[pairs]] = seen[pairs]
        path[now] = (best[now] + leaving).argmax(axis=1)
    return path
