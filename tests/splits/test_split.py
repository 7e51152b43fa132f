"""Splits: by document, reproducible, with every type in every part where that can be."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.corpora.groups import group_numbers
from spacy_btl.errors import BtlWarning, CorpusError
from spacy_btl.splits.split import mentions_of_part, missing_types, split_corpus
from spacy_btl.splits.stratify import stratify

PARTS = ("train", "dev", "test")


def make_corpus(path: Path, types: list[set[str]], *, named: bool = True) -> Path:
    """One doc per set of types, with one mention of each."""
    vocab = Vocab()
    docs = []
    for number, labels in enumerate(types):
        doc = Doc(vocab, words=[f"x{number}", *labels])
        doc.ents = [Span(doc, i, i + 1, label=label) for i, label in enumerate(labels, start=1)]
        doc.spans["mentions"] = list(doc.ents)
        if named:
            doc.user_data["note_id"] = f"note-{number}"
        docs.append(doc)
    write_docs(path, docs)
    return path


def ids(docs: list[Doc]) -> list[str]:
    return [doc.user_data["note_id"] for doc in docs]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """100 docs: Common in all, Half in every second, Rare in three."""
    types = [{"Common", "Half"} if i % 2 else {"Common"} for i in range(100)]
    for i in (10, 31, 90):
        types[i].add("Rare")
    return make_corpus(tmp_path / "corpus.spacy", types)


def test_parts_are_disjoint_whole_and_stratified(corpus: Path, tmp_path: Path) -> None:
    (parts,) = split_corpus(corpus, tmp_path / "out", dev=0.15, test=0.2, seed=3)
    record = json.loads((tmp_path / "out" / "split.json").read_text())
    assert record == {"seed": 3, "parts": {name: ids(parts[name]) for name in PARTS}}
    everything = [note for name in PARTS for note in record["parts"][name]]
    assert sorted(everything) == sorted(ids(read_docs(corpus, Vocab())))
    assert [len(parts[name]) for name in PARTS] == pytest.approx([65, 15, 20], abs=2)
    for name, share in (("train", 32.5), ("dev", 7.5), ("test", 10)):
        labels = [ent.label_ for doc in parts[name] for ent in doc.ents]
        assert labels.count("Half") == pytest.approx(share, abs=2)
        assert labels.count("Rare") == 1  # which iterative stratification alone never does
    assert missing_types(parts) == {}


def test_files_hold_the_docs_as_they_were(corpus: Path, tmp_path: Path) -> None:
    before = {doc.user_data["note_id"]: doc for doc in read_docs(corpus, Vocab())}
    (parts,) = split_corpus(corpus, tmp_path / "out")
    for name in PARTS:
        docs = read_docs(tmp_path / "out" / f"{name}.spacy", Vocab())
        assert ids(docs) == ids(parts[name])
        for doc in docs:
            old = before[doc.user_data["note_id"]]
            assert doc.text == old.text
            for new_spans, old_spans in (
                (doc.ents, old.ents),
                (doc.spans["mentions"], old.spans["mentions"]),
            ):
                assert [(s.start, s.end, s.label_) for s in new_spans] == [
                    (s.start, s.end, s.label_) for s in old_spans
                ]


@pytest.mark.parametrize("folds", [None, 3])
def test_the_seed_decides_and_numpy_is_left_alone(
    corpus: Path, tmp_path: Path, folds: int | None
) -> None:
    records = []
    for run, seed in enumerate((1, 1, 2)):
        np.random.seed(run)
        before = np.random.get_state()[1].tolist()
        split_corpus(corpus, tmp_path / f"{run}", folds=folds, seed=seed)
        assert np.random.get_state()[1].tolist() == before
        record = json.loads((tmp_path / f"{run}" / "split.json").read_text())
        assert record.pop("seed") == seed
        records.append(record)
    assert records[0] == records[1] != records[2]


def test_folds_test_every_document_once(corpus: Path, tmp_path: Path) -> None:
    splits = split_corpus(corpus, tmp_path / "out", folds=3, dev=0.25)
    record = json.loads((tmp_path / "out" / "split.json").read_text())
    assert record["folds"] == [{name: ids(parts[name]) for name in PARTS} for parts in splits]
    everything = sorted(ids(read_docs(corpus, Vocab())))
    assert sorted(note for parts in splits for note in ids(parts["test"])) == everything
    for number, parts in enumerate(splits):
        assert sorted(note for name in PARTS for note in ids(parts[name])) == everything
        assert [len(parts[name]) for name in PARTS] == pytest.approx([50, 17, 33], abs=3)
        for name in PARTS:
            written = read_docs(tmp_path / "out" / f"fold-{number}" / f"{name}.spacy", Vocab())
            assert ids(written) == ids(parts[name])
        assert missing_types(parts) == {}


def test_types_that_a_part_lacks_are_told(tmp_path: Path) -> None:
    types = [{"Common"} for _ in range(10)]
    types[4].add("Rare")
    corpus = make_corpus(tmp_path / "corpus.spacy", types)
    (parts,) = split_corpus(corpus, tmp_path / "out")
    missing = missing_types(parts)
    assert len(missing) == 2
    assert all(types == ["Rare"] for types in missing.values())


def test_mentions_within_others_count(tmp_path: Path) -> None:
    """They are in `doc.spans["mentions"]` alone."""
    path = make_corpus(tmp_path / "corpus.spacy", [{"Outer"} for _ in range(10)])
    docs = read_docs(path, Vocab())
    for doc in docs[:1]:
        doc.spans["mentions"].append(Span(doc, 1, 2, label="Inner"))
    write_docs(path, docs)
    (parts,) = split_corpus(path, tmp_path / "out")
    counted = Counter(label for part in parts.values() for label in mentions_of_part(part))
    assert counted == {"Outer": 10, "Inner": 1}
    assert list(missing_types(parts).values()) == [["Inner"]] * 2


def test_docs_without_a_name_get_one(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus.spacy", [set(), {"A"}, {"A"}], named=False)
    (parts,) = split_corpus(corpus, tmp_path / "out")
    names = [note for name in PARTS for note in ids(parts[name])]
    assert sorted(names) == ["doc-000001", "doc-000002", "doc-000003"]
    assert [len(parts[name]) for name in PARTS] == [1, 1, 1]


def of_patients(corpus: Path, n_patients: int) -> Path:
    """The same docs, of so many patients."""
    docs = read_docs(corpus, Vocab())
    for number, doc in enumerate(docs):
        doc.user_data["patient_id"] = f"p{number % n_patients}"
    path = corpus.with_name(f"{n_patients}-patients.spacy")
    write_docs(path, docs)
    return path


@pytest.mark.parametrize("folds", [None, 3])
def test_the_notes_of_a_patient_stay_together(corpus: Path, tmp_path: Path, folds: int | None):
    splits = split_corpus(of_patients(corpus, 23), tmp_path / "out", folds=folds)
    for parts in splits:
        owners = [{doc.user_data["patient_id"] for doc in parts[name]} for name in PARTS]
        assert sum(map(len, owners)) == 23 == len(set.union(*owners))
        assert sum(len(parts[name]) for name in PARTS) == 100
        assert missing_types({name: parts[name] for name in ("train", "test")}) == {}
    one, other = (
        split_corpus(path, tmp_path / "out", folds=folds)
        for path in (corpus, of_patients(corpus, 100))
    )
    assert [[ids(parts[name]) for name in PARTS] for parts in one] == [
        [ids(parts[name]) for name in PARTS] for parts in other
    ]


def test_what_cannot_be_split_is_an_error(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for shares in ({"dev": 0.0}, {"test": -0.1}, {"dev": 0.5, "test": 0.5}, {"dev": 1.5}):
        with pytest.raises(CorpusError, match="shares of dev and test"):
            split_corpus(corpus, out, **shares)
    with pytest.raises(CorpusError, match="1 folds: give at least 2"):
        split_corpus(corpus, out, folds=1)
    small = make_corpus(tmp_path / "small.spacy", [{"A"}, {"A"}])
    for folds in (None, 2, 3):
        with pytest.raises(CorpusError, match="Too few documents"):
            split_corpus(small, out, folds=folds)
    with pytest.raises(CorpusError, match="would be replaced by a part of itself"):
        split_corpus(corpus.rename(tmp_path / "train.spacy"), tmp_path)
    docs = read_docs(small, Vocab())
    docs[1].user_data["note_id"] = docs[0].user_data["note_id"]
    write_docs(small, docs)
    with pytest.raises(CorpusError, match="documents 1 and 2 have the same note_id"):
        split_corpus(small, out)
    docs[1].user_data["note_id"] = {"a": 1}
    write_docs(small, docs)
    with pytest.raises(CorpusError, match="note_id of document 2 is neither a string nor a number"):
        split_corpus(small, out)
    assert not out.exists()


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=4, max_size=25),
    st.sampled_from([[0.65, 0.15, 0.2], [0.85, 0.15], [0.25] * 4]),
)
def test_stratify_fills_every_part(rows: list[list[bool]], shares: list[float]) -> None:
    labels = np.array(rows, dtype=bool)
    labels = labels[:, labels.any(axis=0)]
    parts = stratify(labels, shares, seed=0, without=1 - labels.any(axis=1))
    assert parts.shape == (len(rows),)
    assert set(parts) == set(range(len(shares)))


@settings(max_examples=100)
@given(
    st.integers(0, 60),
    st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=5, max_size=60),
    st.sampled_from([[0.65, 0.15, 0.2], [0.85, 0.15], [0.2] * 5, [0.1, 0.15, 0.25, 0.5]]),
    st.integers(0, 1000),
)
def test_documents_without_an_entity_are_within_one_of_their_share(n_empty, rows, shares, seed):
    labels = np.array([*rows, *[[False] * 3] * n_empty], dtype=bool)
    labels = labels[:, labels.any(axis=0)]
    without = 1 - labels.any(axis=1)
    parts = stratify(labels, shares, seed=seed, without=without)
    found = np.bincount(parts, without, len(shares))
    if len(labels) > 20:  # of fewer, one may have to fill a part
        assert np.abs(found - np.array(shares) * without.sum()).max() < 1


def test_a_third_without_an_entity(tmp_path: Path) -> None:
    types = [{"Common", "Half"} if i % 2 else {"Common"} for i in range(66)] + [set()] * 34
    corpus = make_corpus(tmp_path / "corpus.spacy", types)
    for seed in range(8):
        (parts,) = split_corpus(corpus, tmp_path / "out", seed=seed)
        empty = [sum(not doc.ents for doc in parts[name]) for name in PARTS]
        assert np.abs(np.subtract(empty, [22.1, 5.1, 6.8])).max() < 1
        assert [len(parts[name]) for name in PARTS] == pytest.approx([65, 15, 20], abs=2)


def with_copies(corpus: Path) -> Path:
    """The same docs, ten of them the text of another in other capitals and white space, and without
    an entity."""
    docs = read_docs(corpus, Vocab())
    for number in range(0, 100, 10):
        words = ["\n", *(token.text.upper() for token in docs[number]), "\n"]
        note_id = docs[number + 5].user_data["note_id"]
        docs[number + 5] = Doc(docs[0].vocab, words=words, user_data={"note_id": note_id})
    path = corpus.with_name("copies.spacy")
    write_docs(path, docs)
    return path


@pytest.mark.parametrize("folds", [None, 3])
def test_copies_of_a_text_stay_together(corpus: Path, tmp_path: Path, folds: int | None) -> None:
    path = with_copies(corpus)
    for seed in range(2):
        with pytest.warns(BtlWarning, match="20 of 100 documents share their text with another"):
            splits = split_corpus(path, tmp_path / "out", folds=folds, seed=seed)
        for parts in splits:
            assert sum(len(parts[name]) for name in PARTS) == 100
            texts = [{" ".join(doc.text.lower().split()) for doc in parts[name]} for name in PARTS]
            assert sum(map(len, texts)) == len(set.union(*texts)) == 90


def test_patients_and_copies_tie_documents_together() -> None:
    vocab = Vocab()
    rows = [("a", "p"), ("b", "q"), (" A ", None), ("c", "q"), ("d", None), ("b", "p")]
    docs = [
        Doc(vocab, words=[text], user_data={"patient_id": patient})
        for text, patient in [*rows, ("\n", None), ("\n", None)]
    ]
    assert group_numbers(docs).tolist() == [0, 0, 0, 0, 1, 0, 2, 3]
    assert group_numbers([]).tolist() == []


def test_the_parts_of_an_earlier_split_are_removed(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def files() -> set[str]:
        return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}

    split_corpus(corpus, out, folds=3)
    (out / "fold-2" / "mine.txt").touch()
    split_corpus(corpus, out, folds=2)
    of_folds = {f"fold-{i}/{name}.spacy" for i in range(2) for name in PARTS}
    assert files() == {"split.json", "fold-2/mine.txt", *of_folds}
    split_corpus(corpus, out)
    assert files() == {"split.json", "fold-2/mine.txt", *(f"{name}.spacy" for name in PARTS)}
    assert not (out / "fold-0").exists()
    # What was divided stays, and so does what no split wrote.
    split_corpus(out / "train.spacy", out, folds=2)
    assert files() == {"split.json", "fold-2/mine.txt", "train.spacy", *of_folds}
    for foreign in ('["of something else"]', '{"folds": 5}', "no JSON"):
        (out / "split.json").write_text(foreign)
        split_corpus(corpus, out)
        assert "fold-1/dev.spacy" in files()
