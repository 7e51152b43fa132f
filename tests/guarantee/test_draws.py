"""The experiment on promises, with made-up documents of which the truth is known."""

import lzma
import runpy
from pathlib import Path

import numpy as np
import pytest
import srsly

from spacy_btl.arrays import save_arrays
from spacy_btl.guarantee.knobs import BONUSES, CONFIDENCES

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "experiments" / "guarantee.py"
IN_A_CLONE = pytest.mark.skipif(not SCRIPT.exists(), reason="not a clone")
DOCUMENTS = 120


def counts(n_settings: int, *, found: tuple[float, float]) -> np.ndarray:
    """Of one type, int16 [S, D, 1, 3]: matched mentions grow fewer from setting to setting."""
    rng = np.random.default_rng(0)
    gold = 1 + rng.poisson(3, DOCUMENTS)
    luck = rng.random((DOCUMENTS, 20))
    shares = np.linspace(*found, n_settings)
    matched = [
        (luck < share)[:, :].cumsum(axis=1)[np.arange(DOCUMENTS), gold - 1] for share in shares
    ]
    rows = [np.stack([one, gold, gold], axis=1)[:, None] for one in matched]
    return np.stack(rows).astype("int16")


@IN_A_CLONE
def test_promises_are_kept_where_settings_without_a_bound_are_not(tmp_path):
    script = runpy.run_path(str(SCRIPT))
    rng = np.random.default_rng(1)
    everything = np.arange(DOCUMENTS)
    pairs = [(rng.integers(DOCUMENTS, size=100), everything) for _ in range(120)]
    one = counts(len(BONUSES), found=(0.92, 0.76))[:, :, 0]
    row = script["_draw_type"](one, "recall", 0.8, pairs)
    assert row["promised"] > 0.9
    assert row["broken"] <= 0.1  # 0.05 are allowed
    assert row["naive_broken"] > 0.25
    assert row["recall_before"] < 0.8 < row["recall"]
    assert row["with_mentions"] == DOCUMENTS
    nothing = script["_draw_type"](one, "recall", 0.999, pairs)
    assert (nothing["promised"], nothing["broken"], nothing["recall"]) == (0, 0, None)


@IN_A_CLONE
def test_the_page_is_made_of_what_is_drawn(tmp_path, monkeypatch):
    script = runpy.run_path(str(SCRIPT))
    draw = script["draw"]
    monkeypatch.setitem(draw.__globals__, "DRAWS", 5)
    monkeypatch.setitem(draw.__globals__, "_need", lambda: {"risks": [], "rows": []})
    arrays = {
        f"{kind} {match}": counts(n, found=found)
        for match in ("overlap", "strict")
        for kind, n, found in (
            ("recall", len(BONUSES), (0.99, 0.6)),
            ("precision", len(CONFIDENCES), (0.99, 0.6)),
        )
    }
    saved = save_arrays(arrays, {"types": ["Sign"], "folds": 3})
    counted = tmp_path / "guarantee_Mine.safetensors.xz"
    counted.write_bytes(lzma.compress(saved))
    draw([counted], tmp_path / "drawn.json")
    drawn = srsly.read_json(tmp_path / "drawn.json")
    mine = drawn["corpora"]["Mine"]
    assert (mine["documents"], mine["folds"], drawn["draws"]) == (DOCUMENTS, 3, 5)
    assert {(row["kind"], row["match"]) for row in mine["rows"]} == {
        tuple(name.split()) for name in arrays
    }
    drawn["need"]["of_truth"] = {"risk": 0.05, "power": 0.8, "most": 10}
    srsly.write_json(tmp_path / "drawn.json", drawn)
    row = {"corpus": "Mine", "match": "strict", "level": 0.7, "types": ["Sign"]}
    peer = {"version": "1", "rows": [{**row, "given": [0.5], "broken": [0.25]}]}
    srsly.write_json(tmp_path / "openmed.json", peer)
    page = runpy.run_path(str(ROOT / "scripts" / "guarantee_page.py"))["page"]
    text = page(tmp_path / "drawn.json", tmp_path / "openmed.json")
    assert f"**Mine**, {DOCUMENTS} documents, 1 types, 3 folds" in text
    assert "| recall 80 (overlap) |" in text
    assert "| Mine | 70 (strict) | 50.0 | 25.0 | 25.0 (Sign) |" in text
