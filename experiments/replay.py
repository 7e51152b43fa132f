"""Replay annotation: train on the documents that a strategy has chosen so far, and let it choose.

    python experiments/replay.py experiments/suggest.yml experiments/results/suggest.jsonl

Each training adds a line to the output: what it was trained on, what each strategy chooses next by
it, and its counts on the test documents. A run goes on behind the lines that are there. With seeds
behind the two files it runs these alone, so that several processes can share the output.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import srsly
import torch
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.evaluation.predictions import predict
from spacy_btl.metrics.counts import document_counts, total
from spacy_btl.notes.notes import Note
from spacy_btl.suggest.choosing import choose
from spacy_btl.suggest.reading import Annotated, Knowledge, Passed, new_docs
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.subprocess import spacy_train

FOLDS = Path(__file__).parent / "folds.json"
START = "start"  # the strategy of the first documents, which all others share

Row = dict[str, Any]
Rows = dict[tuple[int, int, str, int], Row]


class Replay:
    """A replay and its results so far.

    plan (Dict[str, Any]): The content of the YAML file.
    output (Path): The results.
    """

    def __init__(self, plan: dict[str, Any], output: Path) -> None:
        self.plan, self.output = plan, output
        docs = read_docs(Path(plan["corpus"]), Vocab())
        self.docs = {str(doc.user_data["note_id"]): doc for doc in docs}
        self.rows: Rows = {}
        if output.is_file():
            for row in map(json.loads, output.read_text("utf-8").splitlines()):
                self.rows[row["fold"], row["seed"], row["strategy"], row["documents"]] = row

    def run(self) -> None:
        """Train whatever is missing: a seed and a fold after the other."""
        for seed in self.plan["seeds"]:
            for fold in self.plan["folds"]:
                for step, n in enumerate(self.plan["documents"]):
                    for strategy in self.plan["strategies"] if step else [START]:
                        if (fold, seed, strategy, n) not in self.rows:
                            self.train(fold, seed, strategy, step)

    def pool(self, fold: int) -> list[str]:
        """The ids of the documents that can be chosen."""
        test = set(self.test(fold))
        return sorted(name for name in self.docs if name not in test)

    def test(self, fold: int) -> list[str]:
        """The ids of the test documents."""
        return list(srsly.read_json(FOLDS)[self.plan["of_folds"]]["folds"][fold]["test"])

    def chosen(self, fold: int, seed: int, strategy: str, step: int) -> list[str]:
        """The ids of the documents of a training, in the order in which they were chosen."""
        numbers = self.plan["documents"]
        if not step:
            order = np.random.default_rng([seed, fold]).permutation(self.pool(fold))
            return [str(name) for name in order[: numbers[0]]]
        before = strategy if step > 1 else START
        row = self.rows[fold, seed, before, numbers[step - 1]]
        if strategy == "same_length":
            of_suggest = self.rows[fold, seed, "suggest" if step > 1 else START, numbers[step - 1]][
                "next"
            ]["suggest"]
            return self.of_same_length(row["ids"], of_suggest, self.pool(fold), [seed, fold, step])
        return [*row["ids"], *row["next"][strategy]]

    def of_same_length(
        self, ids: list[str], others: list[str], pool: list[str], seed: Sequence[int]
    ) -> list[str]:
        """Add to ids, for each of the others, one of the three documents of the most similar
        length."""
        rng, taken = np.random.default_rng(seed), list(ids)
        for other in others:
            left = [name for name in pool if name not in taken]
            left.sort(key=lambda name: abs(len(self.docs[name]) - len(self.docs[other])))
            taken.append(left[rng.integers(min(3, len(left)))])
        return taken

    def train(self, fold: int, seed: int, strategy: str, step: int) -> None:
        """Train on the documents of a strategy, measure, let strategies choose, and add the row."""
        begin = time.monotonic()
        ids = self.chosen(fold, seed, strategy, step)
        with tempfile.TemporaryDirectory() as folder:
            nlp = self.trained(ids, seed, Path(folder))
        test = [self.docs[name] for name in self.test(fold)]
        predictions = predict(nlp, [Example(nlp.make_doc(doc.text), doc) for doc in test])
        counts = total(document_counts(predictions))
        row = {
            "fold": fold,
            "seed": seed,
            "strategy": strategy,
            "documents": len(ids),
            "words": sum(len(self.docs[name]) for name in ids),
            "classes": list(predictions.classes),
            **{name: counts[name].astype(int).tolist() for name in ("tokens", "entities")},
            "ids": ids,
            "next": self.next(nlp, fold, seed, strategy, step, ids),
            "seconds": round(time.monotonic() - begin),
        }
        self.rows[fold, seed, strategy, len(ids)] = row
        with self.output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        sys.stdout.write(f"{fold} {seed} {strategy} {len(ids)}: {row['seconds']} s\n")
        sys.stdout.flush()

    def trained(self, ids: Sequence[str], seed: int, folder: Path) -> Language:
        """A calibrated pipeline of some documents."""
        every = self.plan["held_out"]
        parts = {
            "dev": [self.docs[name] for name in ids[every - 1 :: every]],
            "train": [self.docs[name] for i, name in enumerate(ids, 1) if i % every],
        }
        paths = {part: folder / f"{part}.spacy" for part in parts}
        for part, docs in parts.items():
            write_docs(paths[part], docs)
        steps = self.plan["steps"] + len(ids)
        overrides = {
            **self.plan["overrides"],
            "training.seed": seed,
            "training.max_steps": steps,
            "training.eval_frequency": steps,
            "training.optimizer.learn_rate.warmup_steps": steps // 10,
        }
        config = util.load_config(Path(self.plan["config"]), overrides=overrides)
        config.to_disk(folder / "train.cfg")
        log = folder / "train.log"
        if not spacy_train(folder / "train.cfg", folder, log, paths=paths, threads=1)[0]:
            sys.exit(log.read_text("utf-8"))
        return calibrate(
            str(folder / "model-last"),
            paths["train"],
            folder / "calibrated",
            settings=self.plan["calibrator"],
            held_out=paths["dev"],
        )

    def next(
        self, nlp: Language, fold: int, seed: int, strategy: str, step: int, ids: list[str]
    ) -> dict[str, list[str]]:
        """What this strategy chooses next, or each of them behind the first documents."""
        numbers = self.plan["documents"]
        if step + 1 == len(numbers):
            return {}
        n = numbers[step + 1] - numbers[step]
        left = [name for name in self.pool(fold) if name not in ids]
        chosen = {
            "random": np.random.default_rng([seed, fold, step]).permutation(left)[:n].tolist()
        }
        wanted = self.plan["strategies"] if strategy == START else [strategy]
        if {"suggest", "least_confidence"} & set(wanted):
            chosen |= by_model(nlp, {name: self.docs[name] for name in left}, n)
        return {name: chosen[name] for name in wanted if name in chosen}


def by_model(nlp: Language, docs: dict[str, Doc], n: int) -> dict[str, list[str]]:
    """What `suggest` and the least confidence choose. The latter is the mean over the words of a
    document of the probability that the best tag is wrong."""
    knowledge = Knowledge.of(nlp)
    notes = (Note(name, doc.text, name) for name, doc in docs.items())
    found = new_docs(nlp, notes, knowledge, Annotated(), Passed(), batch_size=16)
    names, contents = zip(
        *((str(note.id), knowledge.contents(doc)) for note, doc in found), strict=True
    )
    choices = choose(contents, knowledge.counts, n, near=knowledge.near)
    doubtful = np.argsort([-one.doubt for one in contents], kind="stable")[:n]
    return {
        "suggest": [names[choice.number] for choice in choices],
        "least_confidence": [names[i] for i in doubtful.tolist()],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    plan = srsly.read_yaml(sys.argv[1])
    plan["seeds"] = list(map(int, sys.argv[3:])) or plan["seeds"]
    Replay(plan, Path(sys.argv[2])).run()
