"""Damaged input ends in success or in an error of ours, with nothing half-written.

FUZZ_CASES is how many cases to try (`make fuzz` tries 10,000), FUZZ_FIRST the number of the first.
A case is made from its number alone, so FUZZ_FIRST=N FUZZ_CASES=1 repeats the one that failed.
"""

import os
import shutil
import traceback
from functools import cache
from pathlib import Path
from random import Random

import pytest

from spacy_btl.errors import BtlError
from spacy_btl.formats import convert as convert_module
from tests.fuzz.targets import SECRET, TARGETS

pytestmark = pytest.mark.slow  # many damaged files

CASES = int(os.environ.get("FUZZ_CASES", "160"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def refused(number: int, folder: Path) -> bool:
    """Try a case. RETURNS: Whether it ended in an error of ours. RAISES: For any other end."""
    folder.mkdir()
    read = TARGETS[number % len(TARGETS)](folder, Random(number))
    before = files(folder)
    try:
        read()
    except BtlError as error:
        said = "".join(traceback.format_exception(error))
        assert SECRET not in said, "the error quotes the note"
        left = files(folder) - before
        assert not left, f"the error left {left}"
        return True
    assert not list(folder.rglob("*.tmp"))
    return False


@pytest.mark.filterwarnings("ignore")
def test_damage_ends_in_success_or_in_an_error_of_ours(tmp_path, monkeypatch):
    # A tokeniser takes longer to make than all the rest of a case.
    monkeypatch.setattr(convert_module, "_blank", cache(convert_module._blank))
    outcomes: list[list[bool]] = [[] for _ in TARGETS]
    failures = []
    for number in range(FIRST, FIRST + CASES):
        folder = tmp_path / str(number)
        try:
            outcomes[number % len(TARGETS)].append(refused(number, folder))
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = TARGETS[number % len(TARGETS)].__name__
            failures.append(
                f"case {number} ({kind}): {type(error).__name__}: {str(error)[:200]} "
                f"at {Path(last.filename).name}:{last.lineno}"
            )
        shutil.rmtree(folder)
    assert not failures, f"{len(failures)} failed:\n" + "\n".join(failures[:40])
    if CASES >= 100:  # else the damage is no test: either too little of it, or nothing but rubble
        for target, ends in zip(TARGETS, outcomes, strict=True):
            assert 0.2 < sum(ends) / len(ends) < 0.98, target.__name__
