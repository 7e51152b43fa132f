"""Split a `.spacy` corpus into train, dev and test, once or in folds.

Documents of one patient stay in one part, and so do copies of one text.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.corpora.groups import group_numbers, warn_of_copies
from spacy_btl.corpora.parts import PARTS, parts_of_split
from spacy_btl.errors import CorpusError
from spacy_btl.files import write_file
from spacy_btl.mentions import MENTIONS, read_mentions
from spacy_btl.splits.stratify import stratify

Parts = dict[str, list[Doc]]


def split_corpus(
    corpus: Path,
    out_dir: Path,
    *,
    dev: float = 0.15,
    test: float = 0.2,
    folds: int | None = None,
    seed: int = 0,
) -> list[Parts]:
    """Write OUT_DIR/{train,dev,test}.spacy, or one such folder per fold, and OUT_DIR/split.json.

    Copies of one text stay in one part, with a warning. The parts of an earlier split in this
    folder are removed. A doc without a `note_id` in its user data gets one: "doc-000001" and so on.

    dev (float): The share of the documents that goes to dev; in folds, of the training documents.
        With patients or copies it is a share of the groups (see `groups.group_numbers`).
    test (float): The share that goes to test. Not used in folds.
    folds (Optional[int]): The number of folds. Every document is in the test part of one fold.
    seed (int): Not negative. The same seed gives the same split.
    RETURNS (List[Parts]): The docs of "train", "dev" and "test": one dict per fold, or one dict.
    RAISES: CorpusError, for a corpus that cannot be read or split as asked, a part that would
        replace the corpus, or two docs of one id.

    >>> from spacy_btl import split_corpus
    >>> (parts,) = split_corpus(Path("train.spacy"), Path("split"), test=0.25)
    >>> sorted(parts)
    ['dev', 'test', 'train']
    """
    _check_shares(dev, test, folds)
    docs = read_docs(corpus, Vocab())
    _name_docs(docs, corpus)
    warn_of_copies(docs, corpus)
    if folds is None:
        splits = [_split(docs, dev, test, seed)]
        folders = [out_dir]
    else:
        splits = _split_folds(docs, folds, dev, seed)
        folders = [out_dir / f"fold-{i}" for i in range(folds)]
    files = {folder / f"{name}.spacy" for folder in folders for name in PARTS}
    if any(file.exists() and file.samefile(corpus) for file in files):
        raise CorpusError(f"{corpus} would be replaced by a part of itself. Give another folder.")
    earlier = parts_of_split(out_dir)
    for folder, parts in zip(folders, splits, strict=True):
        for name, part in parts.items():
            write_docs(folder / f"{name}.spacy", part)
    _remove(set(earlier) - files, corpus)
    ids = [
        {name: [doc.user_data["note_id"] for doc in part] for name, part in parts.items()}
        for parts in splits
    ]
    record = {"seed": seed, "parts": ids[0]} if folds is None else {"seed": seed, "folds": ids}
    write_file(out_dir / "split.json", json.dumps(record, indent=2).encode("utf-8"))
    return splits


def _remove(files: Iterable[Path], corpus: Path) -> None:
    """Remove files other than the corpus, and folders of folds that become empty."""
    for file in files:
        if file.is_file() and not file.samefile(corpus):
            file.unlink()
            if file.parent.name.startswith("fold-") and not any(file.parent.iterdir()):
                file.parent.rmdir()


def _check_shares(dev: float, test: float, folds: int | None) -> None:
    if folds is not None and folds < 2:
        raise CorpusError(f"{folds} folds: give at least 2.")
    shares = (dev, test) if folds is None else (dev,)
    if min(shares) <= 0 or sum(shares) >= 1:
        raise CorpusError(
            "The shares of dev and test must be above 0 and add up to less than 1, not "
            f"{', '.join(f'{share:g}' for share in shares)}."
        )


def _name_docs(docs: Sequence[Doc], corpus: Path) -> None:
    seen: dict[str | int | float, int] = {}
    for number, doc in enumerate(docs, start=1):
        note_id = doc.user_data.setdefault("note_id", f"doc-{number:06}")
        if not isinstance(note_id, str | int | float):
            raise CorpusError(
                f"{corpus}: the note_id of document {number} is neither a string nor a number."
            )
        if note_id in seen:
            raise CorpusError(
                f"{corpus}: documents {seen[note_id]} and {number} have the same note_id, so "
                "one note could be in two parts. Remove one, or give it another id."
            )
        seen[note_id] = number


def divide(docs: Sequence[Doc], shares: Sequence[float], *, seed: int) -> NDArray[np.int64]:
    """Assign docs to parts, stratified by entity type: int64 [D], the part of each doc.

    Docs without an entity are divided in the same shares. Docs of one patient and copies of one
    text stay together.

    shares (Sequence[float]): The parts' shares of the documents, or, with patients or copies, of
        the groups (see `groups.group_numbers`). Their sum is 1.
    seed (int): Not negative. The same seed gives the same parts.
    RAISES: CorpusError, for fewer documents or groups than parts.
    """
    table, groups = _type_table(docs), group_numbers(docs)
    n_groups = int(groups.max(initial=-1)) + 1
    merged = np.zeros((n_groups, table.shape[1]), dtype=bool)
    np.logical_or.at(merged, groups, table)
    without = np.bincount(groups, ~table.any(axis=1), n_groups).astype("int64")
    return stratify(merged, shares, seed=seed, without=without)[groups]


def _split(docs: Sequence[Doc], dev: float, test: float, seed: int) -> Parts:
    parts = divide(docs, [1 - dev - test, dev, test], seed=seed)
    return {name: _pick(docs, parts == i) for i, name in enumerate(PARTS)}


def _split_folds(docs: Sequence[Doc], folds: int, dev: float, seed: int) -> list[Parts]:
    tests = divide(docs, [1 / folds] * folds, seed=seed)
    splits = []
    for fold in range(folds):
        rest = _pick(docs, tests != fold)
        parts = divide(rest, [1 - dev, dev], seed=seed)
        splits.append(
            {
                "train": _pick(rest, parts == 0),
                "dev": _pick(rest, parts == 1),
                "test": _pick(docs, tests == fold),
            }
        )
    return splits


def _type_table(docs: Sequence[Doc]) -> NDArray[np.bool_]:
    """The types of each doc, of all that occur: bool [D, C]."""
    present = [{ent.label_ for ent in doc.ents} for doc in docs]
    types = sorted(set().union(*present))
    table = [[label in doc_types for label in types] for doc_types in present]
    return np.array(table, dtype=bool).reshape(len(docs), len(types))


def _pick(docs: Sequence[Doc], mask: NDArray[np.bool_]) -> list[Doc]:
    return list(compress(docs, mask))


def mentions_of_part(docs: Sequence[Doc]) -> list[str]:
    """The type of each mention of a part, of those too that `doc.ents` has no room for."""
    return [label for doc in docs for _, _, label in read_mentions(doc, MENTIONS)]


def missing_types(parts: Parts) -> dict[str, list[str]]:
    """The types that each part has no mention of although another part has one."""
    present = {name: set(mentions_of_part(docs)) for name, docs in parts.items()}
    every = set().union(*present.values())
    return {name: sorted(every - types) for name, types in present.items() if every - types}
