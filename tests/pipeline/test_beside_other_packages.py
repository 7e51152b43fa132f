"""A pipeline of ours loads beside packages that change spaCy."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

LOAD = """
import spacy
nlp = spacy.load(sys.argv[1])
assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
assert nlp("the patient had severe fever").ents
"""

# As EDS-NLP 0.23 does: a constructor of `Language` that does not register spaCy's own factories.
UNREGISTERING = """
import sys
from spacy import util
from spacy.language import Language
from spacy.pipeline import factories

pytestmark = pytest.mark.slow  # a process for each test

original, register = Language.__init__, factories.register_factories

def replaced(self, *args, **kwargs):
    util.registry._entry_point_factories.get_all()
    factories.register_factories = lambda: None
    try:
        original(self, *args, **kwargs)
    finally:
        factories.register_factories = register

Language.__init__ = replaced
"""


def run(code: str, model) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_pipeline_loads_where_spacys_own_factories_are_not_registered(calibrated_path):
    run(UNREGISTERING + LOAD, calibrated_path)


@pytest.mark.skipif(find_spec("edsnlp") is None, reason="EDS-NLP is not installed (extra: bench)")
@pytest.mark.parametrize("before", [True, False])
def test_a_pipeline_loads_before_and_after_eds_nlp(calibrated_path, before):
    imports = ["import edsnlp", "import spacy_btl.pipeline.knn_calibrator"]
    order = imports if before else imports[::-1]
    run("\n".join(["import sys", *order]) + LOAD, calibrated_path)
