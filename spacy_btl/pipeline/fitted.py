"""A pipe that is fitted: to labelled logits, whose neighbours vote, and to held-out documents."""

import sys
import warnings
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.training import Example

from spacy_btl.calibration.datastore import LabelledRows, Store, empty_rows
from spacy_btl.calibration.fit import fit_maps
from spacy_btl.calibration.held_out import HeldOut
from spacy_btl.calibration.search import Search
from spacy_btl.calibration.tau import Tau
from spacy_btl.calibration.votes import Probabilities, neighbor_shares, smooth
from spacy_btl.errors import BtlWarning, CalibratorError
from spacy_btl.metrics.scorer import Scorer
from spacy_btl.models.token_logits import head_digest
from spacy_btl.pipeline.annotations import install_extensions
from spacy_btl.pipeline.btl_ner import BtlNer
from spacy_btl.pipeline.logits import (
    check_labels,
    check_size,
    find_ner,
    make_store,
    name_of_network,
    pipes_from,
)
from spacy_btl.pipeline.reading import read_held_out
from spacy_btl.pipeline.stored import StoredPipe
from spacy_btl.tags import O_TAG, TagScheme

SETTINGS = ("n_neighbors", "knn_weight", "tau", "transition_weight")


class FittedPipe(StoredPipe):
    """The settings of a calibrator, its store and its maps. See `make_knn_calibrator`."""

    def __init__(
        self,
        nlp: Language | None,
        *,
        search: Search,
        name: str = "knn_calibrator",
        ner: str = "ner",
        n_neighbors: int = 17,
        knn_weight: float = 0.25,
        tau: Tau = 0.15,
        transition_weight: float = 0.15,
        scorer: Scorer | None = None,
    ):
        self.nlp = nlp
        self.name = name
        self.ner = ner
        self.n_neighbors = n_neighbors
        self.knn_weight = knn_weight
        self.tau = tau
        self.transition_weight = transition_weight
        self.search = search
        self.scorer = scorer
        self._warned: set[str] = set()
        self._check_settings()
        install_extensions()

    @property
    def name(self) -> str:
        """Its name in its pipeline."""
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        # spaCy tells a pipe that is sourced nothing of the pipeline it comes to, but names it
        # whenever it links that pipeline's pipes (`Language._link_components`).
        self._name = name
        linking = sys._getframe(1).f_locals.get("self")
        if isinstance(linking, Language) and any(pipe is self for _, pipe in linking.components):
            self.nlp = linking
            self._follow_ner(linking)

    def _follow_ner(self, nlp: Language) -> None:
        """Set `ner`, in the config of the pipeline too, to what the pipe that it was fitted to is
        called there: it may have been renamed, or stand beside another."""
        network = self._store.network if self._store is not None else ""
        name = name_of_network(nlp, network, self.ner)
        if name is not None and name != self.ner:
            self.ner = nlp.get_pipe_config(self.name)["ner"] = name

    @property
    def store(self) -> Store | None:
        """What it was fitted to; None while unfitted. With knn_weight = 0 and without transition_weight it needs
        the `ner` pipe's tags only."""
        needs_rows = self.knn_weight > 0 or self.transition_weight > 0
        if self._store is None and not needs_rows and self.nlp is not None:
            ner = self._ner_pipe()
            return make_store(ner, empty_rows(len(ner.tag_scheme)))
        return self._store

    @property
    def settings(self) -> dict[str, Any]:
        """What its probabilities and decisions depend on."""
        return {key: deepcopy(getattr(self, key)) for key in SETTINGS}

    @property
    def tag_scheme(self) -> TagScheme:
        """The tags of the C columns of the probabilities; of nothing but `O` while unfitted."""
        store = self.store
        return TagScheme(store.labels, store.scheme) if store else TagScheme(())

    def fit(self, examples: Iterable[Example]) -> None:
        """Keep the logits of annotated tokens, as the pipes before this one compute them.

        examples (Iterable[Example]): The training documents (the paper), or others.
        RAISES: CalibratorError, without a `btl_ner` pipe before this one, an entity in the corpus,
            or `n_neighbors` tokens; PipelineError, for an entity type that the `ner` pipe lacks.
        """
        self.fit_rows(self._read(examples, strict=True).rows())

    def fit_rows(self, rows: LabelledRows) -> None:
        """Keep labelled rows, and forget the maps, which were fitted to others.

        RAISES: CalibratorError, without an entity or `n_neighbors` tokens.
        """
        if not (rows.tags != O_TAG).any():
            raise CalibratorError("The corpus to fit on has no entity: nothing to calibrate with.")
        ner = self._ner_pipe()
        store = replace(make_store(ner, rows), network=head_digest(ner.model))
        check_size(store, self.n_neighbors, reader=self.name)
        self._use(store)
        self.maps = None

    def fit_map(self, examples: Iterable[Example]) -> None:
        """Fit the maps that make probabilities and confidence honest, for the present settings.

        examples (Iterable[Example]): Documents that the network did not train on, nor the store.
        RAISES: CalibratorError, while unfitted, or without an annotated token or an entity found.
        """
        store = self.fitted_store()
        held_out = self.read_held_out(examples)
        p_knn = (
            self.neighbor_probabilities(held_out.logits[held_out.seen]) if self.knn_weight else None
        )
        self.maps = fit_maps(
            held_out,
            p_knn,
            store=store,
            settings=self.settings,
        )

    def read_held_out(self, examples: Iterable[Example]) -> HeldOut:
        """Read documents, by the pipes before this one, for maps to be fitted on. Warns of entities
        whose type the `ner` pipe lacks: they are missed, and their tokens say nothing.

        RAISES: As `fit_map`.
        """
        self.fitted_store()
        held_out = self._read(examples)
        unknown = int((held_out.gold_ents[:, 2] == 0).sum())
        if unknown:
            warnings.warn(
                "The held-out documents hold entities of types that the pipe "
                f"'{self.ner}' does not know: {unknown:,}, which count as missed.",
                BtlWarning,
                stacklevel=3,
            )
        return held_out

    def _read(self, examples: Iterable[Example], *, strict: bool = False) -> HeldOut:
        nlp = self._pipeline()
        return read_held_out(
            nlp,
            examples,
            ner=self._ner_pipe(),
            reader=self.name,
            disable=pipes_from(nlp, self.name),
            strict=strict,
        )

    def neighbor_probabilities(self, logits: NDArray[np.float32]) -> Probabilities:
        """What the neighbours say of raw logits [N, C] that are not all zero, float64 [N, C].

        RAISES: CalibratorError, while unfitted.
        """
        if self._store is None:
            raise CalibratorError(f"No neighbour votes in '{self.name}': it is not fitted.")
        store = self._store
        check_size(store, self.n_neighbors, reader=self.name)
        if not len(logits):
            return np.zeros((0, len(store.prior)))
        _, rows = self.search.query(logits, self.n_neighbors)
        shares = neighbor_shares(store.tags[rows], len(store.prior))
        return smooth(shares, store.prior, self.n_neighbors)

    def fitted_store(self) -> Store:
        """What it was fitted to. RAISES: CalibratorError, while unfitted."""
        if self.store is None:
            raise CalibratorError(f"'{self.name}' is not fitted: call its fit() first.")
        return self.store

    def _ner_pipe(self) -> BtlNer:
        return find_ner(self._pipeline(), self.ner, reader=self.name)

    def _pipeline(self) -> Language:
        if self.nlp is None:
            raise CalibratorError(f"'{self.name}' has no pipeline around it: add it to one.")
        return self.nlp

    def _check_settings(self) -> None:
        in_range = (
            self.n_neighbors >= 1 and 0 <= self.knn_weight <= 1 and self.transition_weight >= 0
        )
        if not in_range:
            raise CalibratorError(
                f"'{self.name}' needs n_neighbors >= 1, knn_weight from 0 to 1, and "
                f"transition_weight >= 0; it got {self.n_neighbors}, {self.knn_weight} and "
                f"{self.transition_weight}."
            )
        self._check_tau(self.tau)

    def _check_tau(self, tau: Tau) -> None:
        taus = tau.values() if isinstance(tau, dict) else [tau]
        if not all(isinstance(tau, Real) and np.isfinite(tau) for tau in taus):
            raise CalibratorError(f"'{self.name}' needs a tau that is a number, or one per type.")

    def _check_labels(self, store: Store) -> None:
        if self.nlp is not None:
            check_labels(store, self._ner_pipe(), reader=self.name)

    def _use(self, store: Store) -> None:
        super()._use(store)
        if len(store.tags):
            self.search.fit(store.logits)
