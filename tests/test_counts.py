"""The imports and sizes of the package, by `make counts`."""

import runpy
from collections import Counter
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from bench.path import calls, count_moves
from spacy_btl.calibration.calibrator import Calibrator
from spacy_btl.calibration.datastore import Datastore
from spacy_btl.calibration.decisions import Transitions
from spacy_btl.tags import TagScheme
from tests.conftest import SENTENCES

ROOT = Path(__file__).parent.parent
COUNTS = runpy.run_path(str(ROOT / "scripts" / "counts.py"))


def test_imports_point_up_the_table_of_the_architecture_page_and_in_no_circle():
    assert len(COUNTS["order"](ROOT)) > 15
    assert COUNTS["upward_imports"](ROOT) == []
    assert COUNTS["import_circles"](ROOT) == []


@pytest.fixture
def tree(tmp_path) -> Path:
    """Two packages and a module, of which the table lists the packages."""
    for name, text in {
        "docs/architecture.md": "| `low/` | l |\n| `high/` | h |\n",
        "spacy_btl/__init__.py": "",
        "spacy_btl/about.py": "",
        "spacy_btl/other.py": "x = 1\n",
        "spacy_btl/low/__init__.py": "",
        "spacy_btl/low/one.py": "def f():\n    from spacy_btl.high import three\n",
        "spacy_btl/low/two.py": "import spacy_btl.low.one\nimport numpy\n",
        "spacy_btl/high/__init__.py": "",
        "spacy_btl/high/three.py": "from spacy_btl.low.two import x\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_an_upward_import_and_a_module_without_a_place_are_named(tree):
    assert COUNTS["upward_imports"](tree) == [
        "other is not in the table",
        "low.one imports high.three",
    ]


def test_a_circle_is_named_with_its_modules(tree):
    assert COUNTS["import_circles"](tree) == ["high.three and low.one and low.two"]


def test_lines_are_counted_by_package(tree):
    assert COUNTS["package_lines"](tree) == {"": 1, "low": 4, "high": 1}


# What one note does on its way through a fitted pipeline: it stays in few files, and makes nothing

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
