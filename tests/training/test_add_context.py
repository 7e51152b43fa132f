"""A pipeline on disk gets a `btl_context`."""

import pytest
import spacy
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.context.assertions import assertions
from spacy_btl.errors import PipelineError
from spacy_btl.training.add_context import REQUIREMENT, add_context
from tests.conftest import SENTENCES
from tests.pipeline.test_overlapping import NOTES

pytest.importorskip("negspacy", reason="pip install '.[context]' to test it")

NEGATED = "pain in the left arm , no fever"


def test_it_stands_behind_all_and_leaves_the_entities_as_they_were(calibrated_path, asserted_path):
    before, after = spacy.load(calibrated_path), spacy.load(asserted_path)
    assert after.pipe_names == [*before.pipe_names, "btl_context"]
    for text, _ in SENTENCES:
        ents, same = before(text).ents, after(text).ents
        assert [str(ent) for ent in ents] == [str(ent) for ent in same]
        assert [ent._.confidence for ent in ents] == [ent._.confidence for ent in same]
    found = {ent.text: ent._.negated for ent in after(NEGATED).ents}
    assert found == {"pain": False, "fever": True}
    assert {assertions(ent) for ent in before(NEGATED).ents} == {None}


def test_a_package_of_it_requires_negspacy_once(asserted_path, tmp_path):
    nlp = add_context(str(asserted_path), tmp_path / "twice", types=["Sign"])
    assert nlp.pipe_names.count("btl_context") == 1
    assert nlp.get_pipe_config("btl_context")["types"] == ["Sign"]
    assert spacy.load(tmp_path / "twice").meta["requirements"] == [REQUIREMENT]


def test_mentions_that_overlap_are_judged_too(calibrated_overlapping_path, tmp_path):
    nlp = add_context(str(calibrated_overlapping_path), tmp_path / "model")
    (key,) = nlp.get_pipe("btl_context").spans_keys
    doc = nlp(NOTES[0][0])
    assert len(doc.spans[key]) > len(doc.ents)
    assert None not in {assertions(span) for span in doc.spans[key]}


def test_what_cannot_be_used_is_refused_before_anything_is_written(calibrated_path, tmp_path):
    with pytest.raises(PipelineError, match="predicts no Drug"):
        add_context(str(calibrated_path), tmp_path / "out", types=["Sign", "Drug"])
    spacy.blank("fr").to_disk(tmp_path / "french")
    with pytest.raises(PipelineError, match="language is 'fr'"):
        add_context(str(tmp_path / "french"), tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(PipelineError, match="holds no pipeline"):
        add_context(str(calibrated_path), tmp_path / "mine")
    assert not (tmp_path / "out").exists()


def test_the_command(calibrated_path, tmp_path):
    arguments = [
        "add-context",
        str(calibrated_path),
        str(tmp_path / "out"),
        "--types",
        "Sign, Test",
    ]
    result = CliRunner().invoke(btl, arguments)
    assert result.exit_code == 0, result.output
    config = spacy.load(tmp_path / "out").get_pipe_config("btl_context")
    assert config["types"] == ["Sign", "Test"]
    result = CliRunner().invoke(btl, arguments)
    assert result.exit_code == 1
    assert "--force" in result.output
