"""What one note does on its way through a fitted pipeline: it stays in few files, and makes nothing
that all notes share."""

from collections import Counter

import pytest
import spacy
from spacy.language import Language

from bench.path import calls, count_moves
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import Transitions
from spacy_btl.tags import TagScheme
from tests.conftest import SENTENCES

MAX_MOVES = 26
NOTES = [f"{text}{' .' * i}" for i in range(3) for text, _ in SENTENCES][:10]


@pytest.fixture
def nlp(calibrated_path) -> Language:
    return spacy.load(calibrated_path)


def test_one_note_moves_little_between_files(nlp):
    assert count_moves(nlp, "Fever.") <= MAX_MOVES


def test_the_calls_are_those_of_our_pipes(nlp):
    made = [name for file, name in calls(nlp, "Fever.") if file == "pipeline/knn_calibrator.py"]
    assert {"predict", "set_annotations"} <= set(made)
    with nlp.select_pipes(disable=["knn_calibrator"]):
        files = {file for file, _ in calls(nlp, "Fever.")}
        assert "pipeline/btl_ner.py" in files
        assert "pipeline/knn_calibrator.py" not in files


def test_nothing_that_all_notes_share_is_made_for_a_note(nlp, monkeypatch):
    list(nlp.pipe(NOTES))  # what is made at the first call is made once
    made: Counter[str] = Counter()
    for shared in (TagScheme, Datastore, Transitions, Calibrator):

        def count(self, *args, init=shared.__init__, name=shared.__name__, **kwargs) -> None:
            made[name] += 1
            init(self, *args, **kwargs)

        monkeypatch.setattr(shared, "__init__", count)
    docs = [*nlp.pipe(NOTES, batch_size=3), nlp(NOTES[0])]
    assert any(doc.ents for doc in docs)
    assert made == {}
    TagScheme(("Sign",))
    assert made == {"TagScheme": 1}
