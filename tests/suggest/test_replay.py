"""The replay of annotation, with a pipeline that is trained already in the place of a training."""

import json
import runpy
from pathlib import Path

import pytest
import spacy
import srsly

from spacy_btl.corpora.docbin import write_docs
from tests.conftest import make_corpus

ROOT = Path(__file__).parent.parent.parent
SCRIPT = runpy.run_path(str(ROOT / "experiments" / "replay.py"))
PLAN = {
    "folds": [0, 1],
    "seeds": [0],
    "documents": [2, 4, 7],
    "strategies": ["suggest", "random", "same_length", "least_confidence"],
}


@pytest.fixture
def replay(calibrated_path, tmp_path):
    """Makes a replay on the output, which counts its trainings."""
    nlp = spacy.load(calibrated_path)
    docs = make_corpus(spacy.blank("en"), repeat=3)
    for number, doc in enumerate(docs):
        doc.user_data["note_id"] = f"d{number:02}"
    write_docs(tmp_path / "all.spacy", docs)

    class Fake(SCRIPT["Replay"]):
        trainings = 0

        def test(self, fold):
            return [f"d{number:02}" for number in range(4 * fold, 4 * fold + 4)]

        def trained(self, ids, seed, folder):
            self.trainings += 1
            return nlp

    plan = {**PLAN, "corpus": str(tmp_path / "all.spacy")}
    return lambda: Fake(plan, tmp_path / "out.jsonl")


def test_documents_are_added_and_never_those_of_the_test(replay, tmp_path):
    first = replay()
    first.run()
    assert first.trainings == 2 * (1 + 2 * 4)
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    rows = {(r["fold"], r["strategy"], r["documents"]): r for r in map(json.loads, lines)}
    for (fold, strategy, documents), row in rows.items():
        ids = row["ids"]
        assert len(set(ids)) == documents
        assert not set(ids) & set(first.test(fold))
        assert row["words"] == sum(len(first.docs[name]) for name in ids)
        if documents > 2:
            before = rows[fold, strategy if documents > 4 else "start", 2 if documents == 4 else 4]
            assert ids[: len(before["ids"])] == before["ids"]
            if strategy != "same_length":
                assert ids == before["ids"] + before["next"][strategy]
    # The same documents give the same counts.
    assert len({str(row["tokens"]) for (fold, *_), row in rows.items() if fold == 0}) == 1
    # Of equal numbers of words, as far as there are such documents.
    lengths = [rows[0, name, 7]["words"] for name in ("suggest", "same_length")]
    assert abs(lengths[0] - lengths[1]) <= 12


def test_a_run_goes_on_where_it_was(replay, tmp_path):
    replay().run()
    output = tmp_path / "out.jsonl"
    whole = output.read_text().splitlines()
    output.write_text("".join(f"{line}\n" for line in whole[:5]))
    again = replay()
    again.run()
    assert again.trainings == len(whole) - 5

    def without_time(line):
        return {**json.loads(line), "seconds": 0}

    assert list(map(without_time, output.read_text().splitlines())) == list(
        map(without_time, whole)
    )


def test_the_plan_is_one_that_can_be_run():
    plan = srsly.read_yaml(ROOT / "experiments" / "suggest.yml")
    assert set(PLAN) < set(plan)
    assert plan["strategies"] == PLAN["strategies"]
    assert plan["documents"] == sorted(plan["documents"])
    folds = srsly.read_json(ROOT / "experiments" / "folds.json")[plan["of_folds"]]["folds"]
    assert max(plan["folds"]) < len(folds)
