"""Ids of spaCy's `entity_linker` in the rows of `annotate`."""

import json

import pytest
import spacy
from spacy.kb import InMemoryLookupKB

from spacy_btl.annotate.annotate import Options, annotate_file
from tests.annotate.conftest import write_notes

TEXT = "severe fever and cough"


@pytest.mark.parametrize("mode", ["flat", "overlapping"])
def test_rows_have_the_ids(mode, calibrated_path, calibrated_overlapping_path, tmp_path):
    nlp = spacy.load(calibrated_path if mode == "flat" else calibrated_overlapping_path)
    known, *others = dict.fromkeys(ent.text for ent in nlp(TEXT).ents)

    def make_kb(vocab):
        kb = InMemoryLookupKB(vocab, entity_vector_length=1)
        kb.add_entity(entity="C1", freq=1, entity_vector=[0.0])
        kb.add_alias(alias=known, entities=["C1"], probabilities=[1.0])
        return kb

    nlp.add_pipe("sentencizer")
    config = {"incl_context": False, "entity_vector_length": 1}
    nlp.add_pipe("entity_linker", config=config).set_kb(make_kb)
    nlp.to_disk(tmp_path / "linked")
    notes = write_notes(tmp_path / "notes.jsonl", [(1, TEXT)])
    options = Options(with_text=True)
    annotate_file(str(tmp_path / "linked"), notes, tmp_path / "out.jsonl", options)
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").open()]
    ids = {row["text"]: row["kb_id"] for row in rows}
    assert others
    assert {text for text in ids if ids[text] == "C1"} == {known}
    assert {ids[text] for text in others} == {None}
    annotate_file(str(calibrated_path), notes, tmp_path / "plain.jsonl", options)
    assert "kb_id" not in json.loads((tmp_path / "plain.jsonl").open().readline())
