"""The kNN calibrator as an estimator over arrays, after the manner of scikit-learn's classifiers.

It knows no Doc and no pipeline: the pipe `knn_calibrator` owns one. N tokens, C tags. Where each of
K types decides for itself, tags are [N, K], and probabilities [N, K, S + 2]: those of the S tags of
each decision, that a mention of the type begins, and that one ends.
"""

from dataclasses import asdict, replace
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from spacy_btl.arrays import OPS, Probabilities
from spacy_btl.calibration.calibration_maps import ConfidenceMap, Maps, TokenMap
from spacy_btl.calibration.candidates import Words
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import (
    Tau,
    confidence_limits,
    decide,
    tau_per_tag,
    type_shifts,
)
from spacy_btl.calibration.held_out import HeldOut, judge_runs
from spacy_btl.calibration.mention_map import Found, MentionMap, choose_mentions
from spacy_btl.calibration.reference import Reference, Tokens, describe
from spacy_btl.calibration.settings import Settings, check_tau
from spacy_btl.errors import CalibratorError
from spacy_btl.mentions import OverlappingScheme
from spacy_btl.search import ivf
from spacy_btl.search.search import DividingSearch, Search, sklearn_search
from spacy_btl.tags import O_TAG

# What is saved without a datastore, without maps, or without the documents that these were fitted
# to. An empty file is a damaged one.
UNFITTED = b"not fitted"
PARTS = ("datastore", "maps", "reference")
# A token that is outside by so much probability of the softmax is not searched where the search is
# approximate: 98% of the probabilities stay within 0.01, and nearly all decisions are the same
# (docs/performance.md). With 0.9995 99% do, and the search takes a fifth longer.
SURE = 0.998


class Neighbors(NamedTuple):
    """What the neighbours of S tokens say.

    p (float64 [S, C]): See `Calibrator.neighbor_probabilities`.
    nearest (float64 [S]): The distance to the nearest; nan for a token that was not searched.
    """

    p: Probabilities
    nearest: NDArray[np.float64]


class Calibrator:
    """Class probabilities, tags and confidences from raw logits (arXiv 2409.03238, section 4).

    search (Optional[Search]): How neighbours are found; exactly, by scikit-learn, if not given.
    settings: As for `Settings`.

    >>> calibrator = nlp.get_pipe("knn_calibrator").calibrator
    >>> p = calibrator.predict_proba(calibrator.datastore.logits[:2])
    >>> p.sum(axis=1).round(6).tolist()
    [1.0, 1.0]
    >>> tags = calibrator.decide(p)
    """

    def __init__(self, search: Search | None = None, **settings: Any) -> None:
        self.settings = Settings(**settings)
        self.search = sklearn_search() if search is None else search
        self.datastore: Datastore | None = None
        self.maps: Maps | None = None
        self.reference: Reference | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.settings})"

    def get_params(self) -> dict[str, Any]:
        """The settings by their names."""
        return asdict(self.settings)

    def set_params(self, **settings: Any) -> Self:
        """Change settings. The maps stay, and hold for the settings that they were fitted for.

        RAISES: CalibratorError, for a value out of range.
        """
        self.settings = replace(self.settings, **settings)
        return self

    def fit(self, datastore: Datastore) -> Self:
        """Keep labelled logits and forget the maps, which were fitted to others.

        RAISES: CalibratorError, without an entity or `n_neighbors` rows.
        """
        if not (datastore.tags != O_TAG).any():
            raise CalibratorError("The corpus to fit on has no entity: nothing to calibrate with.")
        self._check_size(datastore)
        self.use(datastore)
        self.maps = self.reference = None
        return self

    def fit_maps(
        self, held_out: HeldOut, neighbors: Neighbors | None = None, *, near: Maps | None = None
    ) -> Self:
        """Fit the calibration maps for the present settings, and keep what other notes are compared
        with: a few numbers of each document.

        held_out (HeldOut): Documents that neither the network nor the datastore had.
        neighbors (Optional[Neighbors]): Those of the tokens that the encoder saw, where they were
            not found in the datastore (cross-fitting).
        near (Optional[Maps]): Earlier maps, of another source, that a few documents change little.
        RAISES: CalibratorError, while unfitted, or without an annotated token or a predicted
            entity.
        """
        from spacy_btl.calibration.fit import fit_maps  # scikit-learn is not for prediction

        datastore = self.fitted_datastore()
        seen, settings = held_out.seen, self.settings
        if neighbors is None and settings.knn_weight:
            neighbors = self.neighbors(held_out.logits[seen])
        p_knn = neighbors.p if neighbors is not None and settings.knn_weight else None
        self.maps = fit_maps(held_out, p_knn, datastore=datastore, settings=settings, near=near)
        return self.fit_reference(held_out, neighbors)

    def fit_reference(self, held_out: HeldOut, neighbors: Neighbors | None = None) -> Self:
        """Keep what other notes are compared with, for the present settings and maps.

        held_out, neighbors: As for `fit_maps`.
        RAISES: CalibratorError, while unfitted.
        """
        p, nearest = self.read(held_out.logits, neighbors)
        found = self.find_entities(p, held_out.words)
        numbers, documents = np.unique(held_out.documents, return_inverse=True)
        tokens = Tokens(documents, p, held_out.seen, nearest)
        known, correct = judge_runs(held_out, found.runs)
        owners = documents[found.runs.first[known]]
        judged = [np.bincount(each, minlength=len(numbers)) for each in (owners, owners[correct])]
        scheme = self.fitted_datastore().tag_scheme
        rows = describe(tokens, found, scheme, len(numbers))
        self.reference = Reference(rows, np.stack(judged, axis=1))
        return self

    def fitted_datastore(self) -> Datastore:
        """The datastore that it was fitted to. RAISES: CalibratorError, while unfitted."""
        datastore = self.datastore
        if datastore is None or (not len(datastore.tags) and self.settings.needs_rows):
            raise CalibratorError("The calibrator is not fitted: call its fit() first.")
        return datastore

    def neighbor_rows(self) -> Datastore:
        """The datastore whose rows are neighbours.

        RAISES: CalibratorError, while it has none: unfitted, or with knn_weight = 0.
        """
        if not self.settings.knn_weight:
            raise CalibratorError(
                "There are no neighbours: with knn_weight = 0 the softmax decides alone."
            )
        datastore = self.fitted_datastore()
        self._check_size(datastore)
        return datastore

    def neighbor_probabilities(self, logits: NDArray[np.float32]) -> Probabilities:
        """The share of each tag among a token's neighbours and one more, float64 [N, C].

        The one more is spread like the training frequencies: no tag then has probability zero, and
        tags without a neighbour rank by their frequency. Where the search is approximate, a token
        that the softmax is sure is outside (`SURE`) is taken to have such neighbours only.

        logits (float32 [N, C]): Raw logits; no row is all zero.
        RAISES: CalibratorError, while it has no rows to search.
        """
        return self.neighbors(logits).p

    def neighbors(self, logits: NDArray[np.float32]) -> Neighbors:
        """The same, and the distance to the nearest neighbour.

        RAISES: As `neighbor_probabilities`.
        """
        datastore, k = self.datastore, self.settings.n_neighbors
        if datastore is None or not len(datastore.tags):
            raise CalibratorError("The calibrator has no neighbours: call its fit() first.")
        self._check_size(datastore)
        of_tags = logits[:, : datastore.logits.shape[1]]
        shares = np.zeros((len(logits), *datastore.prior.shape))
        shares[..., O_TAG] = 1
        nearest = np.full(len(logits), np.nan)
        asked = np.flatnonzero(~self._surely_outside(of_tags, datastore))
        if len(asked):
            distances, rows = self.search.query(of_tags[asked], k)
            nearest[asked] = distances[:, 0]
            if datastore.tag_scheme.overlapping:
                shares[asked] = datastore.type_shares(rows)
            else:
                shares[asked] = 0
                np.add.at(shares, (asked[:, None], datastore.tags[rows]), 1 / k)
        return Neighbors((k * shares + datastore.prior) / (k + 1), nearest)

    def _surely_outside(
        self, logits: NDArray[np.float32], datastore: Datastore
    ) -> NDArray[np.bool_]:
        """Which tokens are not searched, bool [N]."""
        is_exact = not isinstance(self.search, DividingSearch)
        if is_exact or len(datastore.tags) < ivf.EXACT_BELOW:
            return np.zeros(len(logits), dtype=bool)
        p = OPS.softmax(logits[:, datastore.tag_scheme.columns])[..., O_TAG]
        return (p >= SURE).all(axis=tuple(range(1, p.ndim)))  # of all types, where these decide

    def predict_proba(self, logits: NDArray[np.float32]) -> Probabilities:
        """Probabilities of tags, float64 [N, C]: those of a decision sum to 1.

        logits (float32 [N, C]): Raw logits. A row of zeros is a token that the encoder did not see:
            it is certainly `O`.
        RAISES: CalibratorError, while unfitted, or for logits of other columns: those of the
            datastore have no borders where types decide for themselves.
        """
        return self.read(logits)[0]

    def read(
        self, logits: NDArray[np.float32], neighbors: Neighbors | None = None
    ) -> tuple[Probabilities, NDArray[np.float64]]:
        """The same, and the distance of each token to the nearest labelled one, float64 [N]; nan
        where that was not searched.

        neighbors (Optional[Neighbors]): Those of the tokens that the encoder saw, where they are
            known.
        RAISES: As `predict_proba`.
        """
        scheme = self.fitted_datastore().tag_scheme
        if logits.shape[1] != scheme.n_columns:
            raise CalibratorError(
                f"The logits have {logits.shape[1]} columns, and the calibrator reads "
                f"{scheme.n_columns}: give it those that its btl_ner leaves on docs."
            )
        p_knn, nearest, weight = None, np.full(len(logits), np.nan), self.settings.knn_weight
        if weight:
            seen = logits.any(axis=1)
            p_knn, nearest[seen] = self.neighbors(logits[seen]) if neighbors is None else neighbors
        token_map = TokenMap() if self.maps is None else self.maps.tokens
        p = token_map(logits[:, scheme.columns], p_knn, weight)
        if isinstance(scheme, OverlappingScheme):
            p = scheme.add_borders(p, logits)
        return p, nearest

    def decide(
        self,
        p: Probabilities,
        *,
        documents: NDArray[np.integer] | None = None,
        tau: Tau | None = None,
    ) -> NDArray[np.integer]:
        """Decide tags, int [N].

        p (float64 [N, C]): What `predict_proba` returned, which does not depend on tau.
        documents (Optional[int [N]]): The document of each token; one for all if not given.
        tau (Optional[float | Dict[str, float]]): In place of the one of the settings.
        RAISES: CalibratorError, while unfitted, for a tau that is no number, or a type in it that
            is not known.
        """
        datastore, weight = self.fitted_datastore(), self.settings.transition_weight
        if tau is not None:
            check_tau(tau)
        return decide(
            p,
            datastore.prior,
            tau_per_tag(self.settings.tau if tau is None else tau, datastore.tag_scheme),
            documents=documents,
            transitions=datastore.transitions if weight else None,
            transition_weight=weight,
        )

    def find_entities(self, p: Probabilities, words: Words, *, tau: Tau | None = None) -> Found:
        """Decide entities, or mentions that may overlap, and their confidences.

        Without a `MentionMap` they are the runs of the decided tags, and confidence is from the
        minimum, over the words of each, of the probability of its type. With one, those of the
        candidates that it finds most probable. Those below `min_confidence` are left out.

        p (float64 [N, C]): What `predict_proba` returned for the words.
        words (Words): Where they stand.
        tau (Optional[float | Dict[str, float]]): In place of the one of the settings.
        RAISES: As `decide`.
        """
        scheme = self.fitted_datastore().tag_scheme
        curve = None if self.maps is None else self.maps.confidence
        if isinstance(curve, MentionMap) and isinstance(scheme, OverlappingScheme):
            tau = self.settings.tau if tau is None else tau
            shifts = type_shifts(tau, scheme, self.fitted_datastore().prior)
            tags = self.decide(p, documents=words.documents, tau=0.0)
            found = choose_mentions(p, tags, words, scheme, curve, shifts)
        else:
            tags = self.decide(p, documents=words.documents, tau=tau)
            runs = scheme.runs(tags, words.breaks, words.short)
            values = scheme.run_probabilities(runs, p)
            if isinstance(curve, ConfidenceMap):
                values = curve(values)
            found = Found(runs, values, runs.first, values)
        least, types = self.settings.min_confidence, found.runs.types
        limits = confidence_limits(least, scheme.types)[types] if isinstance(least, dict) else least
        kept = found.confidences >= limits
        return found._replace(runs=found.runs.take(kept), confidences=found.confidences[kept])

    def use(self, datastore: Datastore) -> None:
        """Take a datastore as it is: one that was saved, or one without rows."""
        self.datastore = datastore
        if len(datastore.tags):
            self.search.fit(datastore.logits)
            if datastore.clusters is not None and isinstance(self.search, DividingSearch):
                self.search.set_clusters(datastore.clusters)

    def to_bytes(self) -> dict[str, bytes]:
        """The "datastore", the "maps" and the "reference" as the bytes of safetensors files."""
        datastore, saved = self.datastore, UNFITTED
        if datastore is not None and len(datastore.tags):
            search = self.search
            clusters = search.get_clusters() if isinstance(search, DividingSearch) else None
            saved = replace(datastore, clusters=clusters).to_bytes()
        return {
            "datastore": saved,
            "maps": UNFITTED if self.maps is None else self.maps.to_bytes(),
            "reference": UNFITTED if self.reference is None else self.reference.to_bytes(),
        }

    def from_bytes(self, name: str, data: bytes, *, where: str) -> None:
        """Read one of the three, by its name.

        where (str): What to call its origin in an error.
        RAISES: CalibratorError, for anything but complete and finite arrays of this version.
        """
        if name == "maps":
            self.maps = None if data == UNFITTED else Maps.from_bytes(data, where=where)
        elif name == "reference":
            self.reference = None if data == UNFITTED else Reference.from_bytes(data, where=where)
        elif data == UNFITTED:
            self.datastore = None
        else:
            self.use(Datastore.from_bytes(data, where=where))

    def _check_size(self, datastore: Datastore) -> None:
        if len(datastore.tags) < self.settings.n_neighbors:
            raise CalibratorError(
                f"The calibrator has {len(datastore.tags)} annotated tokens to search, fewer than "
                f"n_neighbors = {self.settings.n_neighbors}. Fit it on a larger corpus, or set "
                "fewer neighbours."
            )
