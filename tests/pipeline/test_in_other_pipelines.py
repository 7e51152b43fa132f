"""A calibrator and its `btl_ner` in pipelines other than the one that they were made in."""

import copy
import pickle
import subprocess
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import spacy
from spacy.cli.assemble import assemble_cli
from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_btl.errors import CalibratorError, PipelineError
from tests.conftest import SENTENCES, make_examples

NOTES = [text for text, _ in SENTENCES]


@pytest.fixture
def source(trained_path) -> Language:
    """transformer > ner > knn_calibrator, fitted."""
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={"n_neighbors": 5, "tau": {"Sign": 0.2}})
    nlp.get_pipe("knn_calibrator").fit(make_examples(nlp))
    return nlp


@pytest.fixture
def source_path(source, tmp_path) -> Path:
    source.to_disk(tmp_path / "source")
    return tmp_path / "source"


def beside_another_ner(source: Language, other: str = "ner") -> Language:
    """A pipeline with a `ner` of its own, and ours under other names."""
    nlp = spacy.blank("en")
    pipe = nlp.add_pipe(other, name="ner")
    pipe.add_label("Disease")
    nlp.initialize(lambda: make_examples(nlp))
    nlp.disable_pipe("ner")
    nlp.add_pipe("transformer", source=source)
    nlp.add_pipe("ner", source=source, name="findings")
    nlp.add_pipe("knn_calibrator", source=source, name="sure")
    return nlp


def entities(docs) -> list[list[tuple[str, str, float]]]:
    return [[(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] for doc in docs]


@pytest.fixture
def expected(source) -> list:
    found = entities(source.pipe(NOTES))
    assert all(ent[2] is not None for ents in found for ent in ents)
    assert any(found)
    return found


@pytest.mark.parametrize("other", ["ner", "btl_ner"])
def test_a_calibrator_that_is_sourced_beside_another_ner_finds_its_own(
    source, expected, other, tmp_path
):
    nlp = beside_another_ner(source, other)
    pipe = nlp.get_pipe("sure")
    assert pipe.nlp is nlp
    assert pipe.ner == nlp.config["components"]["sure"]["ner"] == "findings"
    assert entities(nlp.pipe(NOTES)) == expected
    nlp.to_disk(tmp_path)
    back = spacy.load(tmp_path)
    assert back.config["components"]["sure"]["ner"] == "findings"
    assert back.get_pipe("sure").nlp is back
    assert entities(back.pipe(NOTES)) == expected
    assert entities(spacy.load(tmp_path).from_bytes(nlp.to_bytes()).pipe(NOTES)) == expected


def test_the_order_in_which_pipes_are_sourced_does_not_count(source, expected, tmp_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("ner").add_label("Disease")
    nlp.initialize(lambda: make_examples(nlp))
    nlp.disable_pipe("ner")
    nlp.add_pipe("knn_calibrator", source=source)
    nlp.add_pipe("transformer", source=source, first=True)
    nlp.add_pipe("ner", source=source, name="findings", after="transformer")
    nlp.to_disk(tmp_path)
    for pipeline in (nlp, spacy.load(tmp_path)):
        assert pipeline.get_pipe("knn_calibrator").ner == "findings"
        assert entities(pipeline.pipe(NOTES)) == expected


def test_it_is_fitted_and_explains_in_the_pipeline_that_it_is_in(source, expected):
    nlp = beside_another_ner(source)
    pipe = nlp.get_pipe("sure")
    doc = nlp(NOTES[0])
    explained = pipe.explain(doc[:])
    doc._.token_logits = None
    assert pipe.explain(doc[:]) == explained
    pipe.fit(make_examples(nlp))
    assert entities(nlp.pipe(NOTES)) == expected
    pipe.ner = "ner"
    with pytest.raises(CalibratorError, match="btl_ner pipe named 'ner'"):
        pipe.fit(make_examples(nlp))


def test_a_saved_pipeline_whose_config_names_another_pipe_finds_its_own(source, expected, tmp_path):
    nlp = beside_another_ner(source)
    nlp.to_disk(tmp_path)
    config = (tmp_path / "config.cfg").read_text()
    assert 'ner = "findings"' in config
    (tmp_path / "config.cfg").write_text(config.replace('ner = "findings"', 'ner = "ner"'))
    assert entities(spacy.load(tmp_path).pipe(NOTES)) == expected


def test_pipes_that_a_config_sources_are_found(source_path, expected, tmp_path):
    config = {
        "nlp": {"lang": "en", "pipeline": ["transformer", "findings", "sure"]},
        "components": {
            "transformer": {"source": str(source_path)},
            "findings": {"source": str(source_path), "component": "ner"},
            "sure": {"source": str(source_path), "component": "knn_calibrator"},
        },
    }
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    assert nlp.get_pipe("sure").nlp is nlp
    nlp.to_disk(tmp_path / "back")
    for pipeline in (nlp, spacy.load(tmp_path / "back")):
        assert pipeline.get_pipe("sure").ner == "findings"
        assert entities(pipeline.pipe(NOTES)) == expected


def test_spacy_assembles_a_pipeline_of_ours(source_path, expected, tmp_path):
    config = spacy.Config(
        {
            "nlp": {"lang": "en", "pipeline": ["transformer", "ner", "knn_calibrator"]},
            "components": {
                name: {"source": str(source_path)}
                for name in ("transformer", "ner", "knn_calibrator")
            },
        }
    )
    config.to_disk(tmp_path / "config.cfg")

    class Context:
        args: tuple[str, ...] = ()

    assemble_cli(Context(), tmp_path / "config.cfg", tmp_path / "out", None, False)
    assert entities(spacy.load(tmp_path / "out").pipe(NOTES)) == expected


def test_pipes_may_be_renamed(source, expected, tmp_path):
    source.rename_pipe("ner", "findings")
    source.rename_pipe("knn_calibrator", "sure")
    assert entities(source.pipe(NOTES)) == expected
    source.to_disk(tmp_path)
    back = spacy.load(tmp_path)
    assert back.get_pipe("sure").ner == "findings"
    assert entities(back.pipe(NOTES)) == expected
    back.get_pipe("sure").fit(make_examples(back))
    assert entities(back.pipe(NOTES)) == expected


def test_a_name_that_is_set_by_hand_is_kept(source):
    pipe = source.get_pipe("knn_calibrator")
    pipe.name = "mine"
    assert (pipe.name, pipe.nlp, pipe.ner) == ("mine", source, "ner")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda nlp: pickle.loads(pickle.dumps(nlp))])
def test_a_copied_pipeline_is_whole(source, expected, copied):
    nlp = copied(source)
    pipe = nlp.get_pipe("knn_calibrator")
    assert pipe.nlp is nlp
    assert pipe is not source.get_pipe("knn_calibrator")
    assert entities(nlp.pipe(NOTES)) == expected
    assert nlp.to_bytes() == source.to_bytes()
    doc = nlp(NOTES[0])
    doc._.token_logits = None
    assert pipe.explain(doc[:])
    pipe.fit(make_examples(nlp, repeat=2))
    assert entities(source.pipe(NOTES)) == expected


def test_selected_disabled_and_replaced_pipes(source, expected):
    with source.select_pipes(disable="knn_calibrator"):
        assert all(ent[2] is None for ents in entities(source.pipe(NOTES)) for ent in ents)
    source.disable_pipe("knn_calibrator")
    assert all(ent[2] is None for ents in entities(source.pipe(NOTES)) for ent in ents)
    source.enable_pipe("knn_calibrator")
    assert entities(source.pipe(NOTES)) == expected
    assert source.analyze_pipes()["problems"]["knn_calibrator"] == []
    pipe = source.replace_pipe("knn_calibrator", "knn_calibrator", config={"n_neighbors": 5})
    with pytest.warns(UserWarning, match="not fitted"):
        source(NOTES[0])
    pipe.fit(make_examples(source))
    assert any(entities(source.pipe(NOTES)))


def test_analysis_names_what_a_calibrator_lacks():
    nlp = spacy.blank("en")
    nlp.add_pipe("knn_calibrator")
    assert nlp.analyze_pipes()["problems"]["knn_calibrator"] == ["doc._.token_logits"]


WITHOUT = {
    "excluded": lambda path: spacy.load(path, exclude=["transformer"]),
    "disabled": lambda path: spacy.load(path, disable=["transformer"]),
    "not selected": lambda path: spacy.load(path, enable=["ner", "knn_calibrator"]),
}


@pytest.mark.parametrize("how", WITHOUT)
def test_without_the_transformer_there_is_an_error_that_says_so(source_path, how):
    nlp = WITHOUT[how](source_path)
    with pytest.raises(PipelineError, match="'ner' reads what a 'transformer' pipe leaves"):
        nlp(NOTES[0])
    with pytest.raises(PipelineError, match="'ner' reads what a 'transformer' pipe leaves"):
        list(nlp.pipe(NOTES))


def test_a_transformer_behind_ner_is_an_error(source):
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", source=source)
    nlp.add_pipe("transformer", source=source)
    with pytest.raises(PipelineError, match="put it before 'ner'"):
        nlp(NOTES[0])


def test_a_doc_that_the_transformer_did_not_see_is_an_error(source):
    ner = source.get_pipe("ner")
    docs = [source(NOTES[0]), source.make_doc(NOTES[1])]
    with pytest.raises(PipelineError, match="none ran on a doc"):
        ner.predict(docs)
    assert len(ner.predict([docs[0], source.make_doc("")])) == 2


def test_a_shared_tok2vec_that_did_not_run_is_an_error():
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec")
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 96}
    model = {"@architectures": "spacy_btl.TokenLogits.v1", "tok2vec": listener}
    nlp.add_pipe("btl_ner", name="ner", config={"model": model})
    nlp.initialize(lambda: make_examples(nlp))
    assert nlp(NOTES[0])._.token_logits.any()
    nlp.disable_pipe("tok2vec")
    with pytest.raises(PipelineError, match="'ner' reads what a 'tok2vec' pipe leaves"):
        nlp(NOTES[0])


def test_notes_without_words_need_no_encoder(source_path):
    nlp = spacy.load(source_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [doc.ents for doc in nlp.pipe(["", " \n "])] == [(), ()]


# Negation by negspacy, after our pipes.


def test_negspacy_marks_our_entities_and_leaves_them_as_they_were(calibrated_path):
    pytest.importorskip("negspacy.negation", reason="needs negspacy, of the dev extra")
    nlp = spacy.load(calibrated_path)
    note = "the patient had severe cough . no fever"
    before = [(ent.text, ent.label_, ent._.confidence) for ent in nlp(note).ents]
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("negex", config={"ent_types": ["Sign"]})
    doc = nlp(note)
    assert [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] == before
    negated = {ent.text: ent._.negex for ent in doc.ents if ent.label_ == "Sign"}
    assert negated == {"cough": False, "fever": True}


# Mentions that overlap: pipes behind that read or rewrite doc.ents.


@Language.component("tests_link_behind_spans")
def link(doc: Doc) -> Doc:
    """Gives each entity an id of a knowledge base, as `entity_linker` does."""
    doc.ents = [Span(doc, ent.start, ent.end, ent.label, kb_id="K1") for ent in doc.ents]
    return doc


def test_pipes_that_read_entities_work_behind_mentions_that_overlap(overlapping_path):
    nlp = spacy.load(overlapping_path)
    note = "no fever or cough today"
    doc = nlp(note)
    mentions = [(span.text, span.label_, span._.confidence) for span in doc.spans["btl"]]
    before = [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents]
    nlp.add_pipe("tests_link_behind_spans")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "When", "pattern": "today"}])
    if find_spec("negspacy") is not None:
        import negspacy.negation  # noqa: F401  (registers the pipe)

        nlp.add_pipe("sentencizer")
        nlp.add_pipe("negex", config={"ent_types": ["Sign"]})
    doc = nlp(note)
    assert [(span.text, span.label_, span._.confidence) for span in doc.spans["btl"]] == mentions
    assert len(mentions) == 3
    assert [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] == [
        *before, ("today", "When", None)
    ]  # fmt: skip
    assert {ent.kb_id_ for ent in doc.ents[:-1]} == {"K1"}


# A pipeline of ours loads beside packages that change spaCy.

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
from spacy.tokens import Doc, Span
from spacy.pipeline import factories

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


def run_python(code: str, model) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow  # a process
def test_a_pipeline_loads_where_spacys_own_factories_are_not_registered(calibrated_path):
    run_python(UNREGISTERING + LOAD, calibrated_path)


@pytest.mark.slow  # a process
@pytest.mark.skipif(find_spec("edsnlp") is None, reason="EDS-NLP is not installed (extra: bench)")
@pytest.mark.parametrize("before", [True, False])
def test_a_pipeline_loads_before_and_after_eds_nlp(calibrated_path, before):
    imports = ["import edsnlp", "import spacy_btl.pipeline.knn_calibrator"]
    order = imports if before else imports[::-1]
    run_python("\n".join(["import sys", *order]) + LOAD, calibrated_path)
