"""Negation by negspacy, after our pipes."""

import pytest
import spacy

pytest.importorskip("negspacy.negation", reason="needs negspacy, of the dev extra")


def test_negspacy_marks_our_entities_and_leaves_them_as_they_were(calibrated_path):
    nlp = spacy.load(calibrated_path)
    note = "the patient had severe cough . no fever"
    before = [(ent.text, ent.label_, ent._.confidence) for ent in nlp(note).ents]
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("negex", config={"ent_types": ["Sign"]})
    doc = nlp(note)
    assert [(ent.text, ent.label_, ent._.confidence) for ent in doc.ents] == before
    negated = {ent.text: ent._.negex for ent in doc.ents if ent.label_ == "Sign"}
    assert negated == {"cough": False, "fever": True}
