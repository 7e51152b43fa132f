"""The promises that a pipeline carries in its meta data, and whether they still hold for it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b

from spacy.language import Language

from spacy_btl.errors import PipelineError, counted
from spacy_btl.guarantee.tally import Kind, Match
from spacy_btl.pipeline.knn_calibrator import KnnCalibrator, find_calibrator
from spacy_btl.pipeline.logits import name_of_network

META = "promises"  # the key in the meta data
WHOLES = {"recall": "annotated", "precision": "predicted"}
MATCHES = {
    "overlap": "counts if it shares a word with one of its type",
    "strict": "counts if it has the boundaries of one of its type",
}


@dataclass(frozen=True)
class Promise:
    """What holds of new notes of the same source with probability 1 - risk.

    label (str): The type.
    kind (str): "recall" or "precision".
    level (float): What the mean over the notes that have such mentions is at least.
    risk (float): With what probability the promise is wrong.
    match (str): When a mention counts, see `tally.tally`.
    documents (int): How many calibration documents it rests on: those with such mentions.
    seen (float): The mean over these.
    corpus (str): The name of their file.
    date (str): As YYYY-MM-DD.
    """

    label: str
    kind: Kind
    level: float
    risk: float
    match: Match
    documents: int
    seen: float
    corpus: str
    date: str

    @property
    def short(self) -> str:
        """For a column: the level, the risk, and when a mention counts."""
        return f"{self.kind} {self.level:g}, risk {self.risk:g}, {self.match}"

    def __str__(self) -> str:
        return (
            f"{self.kind} of {self.label} at least {self.level:.1%}, with probability "
            f"{1 - self.risk:.1%}: by {counted(self.documents, 'document')} of {self.corpus} with "
            f"{WHOLES[self.kind]} mentions ({self.seen:.1%} seen), {self.date}; a mention "
            f"{MATCHES[self.match]}"
        )


def write_promises(nlp: Language, pipe: KnnCalibrator, promises: Sequence[Promise]) -> None:
    """Keep promises in a pipeline's meta data, in place of earlier ones.

    pipe (KnnCalibrator): Its calibrator, with the settings that it is saved with.
    """
    made = [asdict(promise) for promise in promises]
    nlp.meta[META] = {"decided_by": _digest(pipe), "made": made}


def read_promises(nlp: Language) -> list[Promise]:
    """The promises that a pipeline carries; none if anything of what decides, the calibrator's
    settings, datastore and maps or the network's head, has changed since.

    RAISES: PipelineError, for meta data that cannot be read.
    """
    kept = nlp.meta.get(META)
    pipe = find_calibrator(nlp)
    if kept is None or pipe is None:
        return []
    try:
        promises = [Promise(**row) for row in kept["made"]]
        decided_by = kept["decided_by"]
    except (KeyError, TypeError) as error:
        raise PipelineError(
            f"meta.json: its {META!r} are damaged. Make them again (python -m spacy btl guarantee)."
        ) from error
    network = pipe.calibrator.fitted_datastore().network
    same = name_of_network(nlp, network, pipe.ner) is not None and _digest(pipe) == decided_by
    return promises if same else []


def forget_promises(nlp: Language) -> None:
    """Take the promises out of a pipeline whose encoder changes, which `read_promises` would not
    notice."""
    nlp.meta.pop(META, None)


def _digest(pipe: KnnCalibrator) -> str:
    """A digest of all that a calibrator decides by."""
    calibrator = pipe.calibrator
    digest = blake2b(digest_size=16)
    for data in calibrator.to_bytes().values():
        digest.update(data)
    digest.update(calibrator.fitted_datastore().network.encode("utf-8"))
    digest.update(json.dumps(asdict(calibrator.settings), sort_keys=True).encode("utf-8"))
    return digest.hexdigest()
