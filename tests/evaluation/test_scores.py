"""The figures of `evaluate` against spaCy's own, and against counting by hand."""

import json
import warnings
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus

from spacy_btl.errors import CorpusError, PipelineError
from spacy_btl.evaluation.scores import HEADLINE, evaluate
from tests.conftest import SENTENCES


def corpus(path: Path, *notes: tuple[str, list[tuple[int, int, str]]]) -> Path:
    nlp = spacy.blank("en")
    docs = []
    for text, entities in notes:
        doc = nlp(text)
        doc.ents = [doc.char_span(*entity) for entity in entities]
        docs.append(doc)
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline that finds by rule what each test wants it to find."""
    nlp = spacy.blank("en")
    patterns = [("Sign", "fever"), ("Sign", "cough"), ("Test", "crp"), ("Drug", "today")]
    ruler = nlp.add_pipe("entity_ruler", config={"scorer": {"@scorers": "spacy_btl.NerScorer.v1"}})
    ruler.add_patterns([{"label": label, "pattern": word} for label, word in patterns])
    path = tmp_path_factory.mktemp("ruled")
    nlp.to_disk(path)
    return path


def test_figures_are_those_of_nlp_evaluate(trained_path, corpus_path):
    scores = evaluate(str(trained_path), corpus_path)
    nlp = spacy.load(trained_path)
    expected = nlp.evaluate(list(Corpus(corpus_path)(nlp)))
    assert set(scores) == {*expected, "documents", "mentions"}
    for key in HEADLINE:
        assert scores[key] == expected[key]
        assert scores[key] > 0
    for label, row in expected["ents_per_type"].items():
        assert {**row, "support": scores["ents_per_type"][label]["support"]} == (
            scores["ents_per_type"][label]
        )
    assert scores["documents"] == 2 * len(SENTENCES)
    assert scores["mentions"] == 2 * sum(len(entities) for _, entities in SENTENCES)


def test_figures_by_hand(ruled, tmp_path):
    path = corpus(
        tmp_path / "c.spacy",
        ("fever today , cough", [(0, 5, "Sign"), (14, 19, "Sign")]),
        ("crp and fever", [(0, 3, "Value")]),
        ("no pain , fever", [(3, 7, "Sign"), (10, 15, "Sign")]),
    )
    scores = evaluate(str(ruled), path)
    # Found: fever, cough and fever rightly; today, crp (Value) and a fever (not gold) wrongly.
    assert scores["ents_p"] == pytest.approx(3 / 6)
    assert scores["ents_r"] == pytest.approx(3 / 5)
    assert scores["ents_f"] == pytest.approx(6 / 11)
    sign = scores["ents_per_type"]["Sign"]
    assert (sign["support"], sign["p"], sign["r"]) == (4, 3 / 4, 3 / 4)
    assert scores["ents_macro_f"] == pytest.approx((0.75 + 0) / 2)  # of Sign and Value
    # Recall of the token classes: O 4 of 6 (not "today" and a "fever"), Sign 3 of 4, Value 0 of 1.
    assert scores["tag_uar"] == pytest.approx((4 / 6 + 3 / 4 + 0) / 3)


def test_types_come_from_the_rarest_to_the_commonest(ruled, tmp_path):
    path = corpus(
        tmp_path / "c.spacy",
        ("fever cough fever", [(0, 5, "Sign"), (6, 11, "Sign"), (12, 17, "Sign")]),
        ("crp crp today", [(0, 3, "Test"), (4, 7, "Test")]),
        ("pain , rash", [(0, 4, "Finding"), (7, 11, "Finding")]),
    )
    per_type = evaluate(str(ruled), path)["ents_per_type"]
    support = [(label, row["support"]) for label, row in per_type.items()]
    # Drug: predicted, never gold. Finding: gold, unknown to the model. Equal support: by name.
    assert support == [("Drug", 0), ("Finding", 2), ("Test", 2), ("Sign", 3)]
    assert {key: per_type["Drug"][key] for key in "prf"} == {"p": 0, "r": 0, "f": 0}
    assert {key: per_type["Finding"][key] for key in "prf"} == {"p": 0, "r": 0, "f": 0}
    assert per_type["Test"]["r"] == 1


def test_a_gold_type_unknown_to_the_model_counts_as_missed_with_one_warning(trained_path, tmp_path):
    text, entities = SENTENCES[0]
    path = corpus(tmp_path / "c.spacy", (text, [*entities, (4, 11, "Person")]))
    with pytest.warns(UserWarning, match="'Person'") as caught:
        scores = evaluate(str(trained_path), path)
    assert len(caught) == 1
    row = scores["ents_per_type"]["Person"]
    assert (row["support"], row["r"]) == (1, 0)
    assert scores["ents_r"] == pytest.approx(3 / 4)


def test_the_figures_are_plain_json(trained_path, corpus_path):
    scores = evaluate(str(trained_path), corpus_path)
    assert json.loads(json.dumps(scores)) == scores


def test_a_pipeline_with_another_scorer_has_its_own_figures(tmp_path, corpus_path):
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "Test", "pattern": "crp"}])
    nlp.to_disk(tmp_path)
    scores = evaluate(str(tmp_path), corpus_path)
    assert scores["ents_p"] == 1
    assert "tag_uar" not in scores


def test_a_corpus_file_of_any_name_will_do(trained_path, corpus_path, tmp_path):
    renamed = tmp_path / "corpus.bin"
    renamed.write_bytes(corpus_path.read_bytes())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = evaluate(str(trained_path), renamed)
    assert scores["ents_f"] == evaluate(str(trained_path), corpus_path)["ents_f"]


def test_what_cannot_be_scored_is_a_clear_error(ruled, corpus_path, tmp_path):
    model = str(ruled)
    (tmp_path / "broken.spacy").write_bytes(corpus_path.read_bytes()[:-10])
    spacy.blank("en").to_disk(tmp_path / "blank")
    DocBin(docs=[Doc(spacy.blank("en").vocab)]).to_disk(tmp_path / "empty.spacy")
    for name, path, kind, message in (
        ("en_gone", corpus_path, PipelineError, "no package and no pipeline folder"),
        (model, tmp_path / "gone.spacy", CorpusError, "gone.spacy: no such file"),
        (model, tmp_path / "broken.spacy", CorpusError, "broken.spacy: not a .spacy file"),
        (model, corpus(tmp_path / "n.spacy"), CorpusError, "n.spacy: holds no document"),
        (model, corpus(tmp_path / "o.spacy", ("no", [])), CorpusError, "o.spacy: has no entity"),
        (model, tmp_path / "empty.spacy", CorpusError, "empty.spacy: has no entity"),
        (str(tmp_path / "blank"), corpus_path, PipelineError, "No pipe of .* finds entities"),
    ):
        with pytest.raises(kind, match=message):
            evaluate(name, path)
