"""The report: what it says, what it must not hold, and that it opens anywhere."""

import re
import sys
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spacy_btl.colors import DISPLACY_COLORS
from spacy_btl.errors import BtlError
from spacy_btl.evaluation.report import write_report

TYPES = sorted(DISPLACY_COLORS)
HOSTILE = '<script>alert("x")</script> & <img src=x onerror=y> $\\frac$'
NOTE = "Severe cough & fever <38 since\nMonday."


def interval(value: float, width: float = 0.05) -> dict[str, float]:
    return {"value": value, "low": max(0, value - width), "high": min(1, value + width)}


def calibration(seed: int) -> dict[str, Any]:
    n = np.random.default_rng(seed).integers(0, 3000, 15).tolist()
    bins = [
        {"n": n_bin, "confidence": (i + 0.5) / 15, "accuracy": i / 15} for i, n_bin in enumerate(n)
    ]
    bins[0] = {"n": 0, "confidence": None, "accuracy": None}
    return bins


def make_metrics() -> dict[str, Any]:
    """What is measured of a pipeline of 33 types, in the shape of `metrics.json`."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 30, (34, 34)) * (rng.random((34, 34)) < 0.4) + np.eye(34, dtype=int)
    counts[1, 3] = 900
    names = [
        "tag_uar", "tag_uar_types", "tag_macro_f", "tag_accuracy", "ents_p", "ents_r",
        "ents_f", "ents_macro_f", "ents_partial_f", "ents_partial_macro_f", "tag_ece",
        "tag_brier", "tag_nll", "ents_ece", "ents_brier", "ents_nll",
    ]  # fmt: skip
    return {
        "model": "en_test 1.0",
        "pipeline": described("training/test"),
        "corpus": {"file": "corpus/test.spacy", "fingerprint": "c0ffee"},
        "date": "2026-01-31",
        "cautions": [],
        "documents": 1234,
        "patients": None,
        "mentions": 4753,
        "annotated": 4753,
        "overlapping": False,
        "seed": 7,
        "samples": 2000,
        "scores": {name: interval(0.321 + 0.01 * i) for i, name in enumerate(names)},
        "types": {
            label: {
                "support": i,
                "annotated": i,
                "tag_support": 9 + i,
                "ents_p": interval(0.5),
                "ents_r": interval(0.4),
                "ents_f": interval(0.44, 0.2),
                "tag_r": 0.45,
                "tag_f": 0.46,
            }
            for i, label in enumerate(reversed(TYPES))
        },
        "curve": [
            {"tau": tau / 10, "tag_uar": 0.6 + tau / 100, "tag_macro_f": 0.6, "tag_accuracy": 0.8}
            for tau in range(-5, 16)
        ],
        "calibration": {"tokens": calibration(1), "entities": calibration(2)},
        "confusion": {
            "classes": ["O", *TYPES],
            "cells": [[*pair, int(counts[tuple(pair)])] for pair in np.argwhere(counts).tolist()],
        },
        "versus": {
            "model": "en_other 2.0",
            "pipeline": described("training/other"),
            "scores": {
                "tag_uar": row(0.092, p=0.0001, p_holm=0.0004),
                "ents_f": row(-0.021, p=0.004, p_holm=0.012),
                "ents_macro_f": row(0.011, p=0.2, p_holm=0.2),
                "tag_ece": row(-0.04, p=0.0001, p_holm=0.0004),
            },
        },
    }


def described(folder: str) -> dict[str, Any]:
    settings = {"tau": 0.15} if "other" in folder else None
    return {"folder": folder, "fingerprint": "f00d", "settings": settings, "calibrated": False}


def row(difference: float, *, p: float, p_holm: float) -> dict[str, float]:
    low, high = difference - 0.02, difference + 0.02
    return {"difference": difference, "low": low, "high": high, "p": p, "p_holm": p_holm}


def make_errors() -> list[dict[str, Any]]:
    cough = {"start": 7, "end": 12, "label": "Sign_symptom"}
    return [
        {
            "kind": "wrong",
            "label": "Disease_disorder",
            "confidence": 0.973,
            "text": NOTE,
            "gold": [cough],
            "predicted": [{"start": 0, "end": 12, "label": "Disease_disorder"}],
            "neighbors": [
                {"label": "Severity", "distance": 1.5, "weight": 0.25, "document": 17,
                 "start": 412, "end": 419}
            ],
        },
        {"kind": "missed", "label": HOSTILE, "confidence": None, "text": NOTE,
         "gold": [{**cough, "label": HOSTILE}], "predicted": []},
    ]  # fmt: skip


class Page(HTMLParser):
    """A page as its elements, and the text of the whole and of each cell."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.rows: list[list[str]] = []
        self._open = ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("style", "td", "th"):
            self._open = tag
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag == self._open:
            self._open = ""

    def handle_data(self, data):
        if self._open != "style":
            self.words += data
        if self._open in ("td", "th"):
            self.rows[-1][-1] += data.strip()

    def attributes(self, name: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.elements if name in attrs]

    def row(self, start: str) -> list[str]:
        """The first row of a table whose first cell is this."""
        return next(cells for cells in self.rows if cells and cells[0] == start)


def page(folder: Path, metrics: dict, errors: list | None = None) -> Page:
    path = folder / "report.html"
    write_report(metrics, path, errors)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A page without text of notes."""
    return page(tmp_path_factory.mktemp("plain"), make_metrics())


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """A page with everything."""
    return page(tmp_path_factory.mktemp("full"), make_metrics(), make_errors())


def test_headline_figures_have_their_intervals_and_meanings(plain):
    assert plain.row("UAR") == ["UAR", "32.1%", "27.1–37.1%"]
    assert plain.row("Entity recall") == ["Entity recall", "37.1%", "32.1–42.1%"]
    assert plain.row("Token NLL") == ["Token NLL", "0.441", "0.391–0.491"]
    assert "Unweighted average recall" in plain.words
    assert "finds 37.1% of the 4,753 annotated mentions" in plain.words
    for fact in ("1,234", "2,000", "en_test 1.0", "training/test", "corpus/test.spacy"):
        assert fact in plain.words


def test_it_says_what_the_bootstrap_samples(plain, tmp_path):
    assert "the documents are resampled" in plain.words
    assert "patients" not in plain.words
    clustered = page(tmp_path, {**make_metrics(), "patients": 321})
    assert "the patients are resampled" in clustered.words
    assert "321" in clustered.words


def test_types_come_in_their_order_with_support(plain):
    rows = [cells for cells in plain.rows if len(cells) == 9 and cells[0] in TYPES]
    assert [cells[0] for cells in rows] == list(make_metrics()["types"])[1:]
    assert rows[0] == [
        TYPES[-2], "1", "44.0%24.0–64.0%", "", "50.0%45.0–55.0%", "40.0%35.0–45.0%", "10", "45.0%",
        "46.0%",
    ]  # fmt: skip


def test_a_type_that_is_nowhere_annotated_has_no_figures(plain):
    said = "predicted by the model, and not annotated"
    assert [TYPES[-1], "0", said] in plain.rows
    assert "annotated types32" in plain.words.replace("\n", "")


def test_a_comparison_says_which_differences_are_clear(plain):
    rows = {cells[0]: cells for cells in plain.rows if "points" in "".join(cells)}
    assert rows["UAR"] == ["UAR", "+9.2 points", "+7.2 to +11.2", "better", "< 0.001", "< 0.001"]
    assert rows["Entity micro F1"][1:4] == ["−2.1 points", "−4.1 to −0.1", "worse"]
    assert rows["Entity macro F1"][3:] == ["no clear difference", "0.200", "0.200"]
    assert rows["Token ECE"][3] == "better"  # less of an error
    assert "en_other 2.0" in plain.words
    assert "tau 0.15; confidence not calibrated" in plain.words


def test_curve_calibration_and_confusions_are_shown(plain):
    labels = " ".join(plain.attributes("aria-label"))
    for plot in ("tau from -0.5 to 1.5", "share of tokens", "share of entities", "Heat map of 34"):
        assert plot in labels
    assert ["0no shift", "60.0%", "60.0%", "80.0%"] in plain.rows
    assert ["1.5highest UAR here", "75.0%", "60.0%", "80.0%"] in plain.rows
    assert ["−0.5", "55.0%", "60.0%", "80.0%"] in plain.rows
    for figure in ("ECE42.1%", "Brier score0.431", "NLL0.441"):
        assert figure in plain.words
    tokens = sum(n for gold, _, n in make_metrics()["confusion"]["cells"] if gold == 1)
    assert [TYPES[0], TYPES[2], "900", f"{900 / tokens:.1%}"] in plain.rows


def test_it_is_titled_by_model_corpus_and_date(plain):
    metrics = make_metrics()
    corpus = Path(metrics["corpus"]["file"]).stem
    assert f"<title>{metrics['model']} on {corpus}, {metrics['date']}</title>" in plain.source
    assert f"<h1>{metrics['model']} on {corpus}</h1>" in plain.source
    assert f"Evaluation of {metrics['date']}" in plain.words


def test_choosing_tau_by_the_documents_of_the_report_is_called_optimistic(plain, tmp_path):
    assert "To choose tau by them is optimistic" in plain.words
    without = page(tmp_path, {**make_metrics(), "curve": None}, [])
    assert "optimistic" not in without.words


def test_paper_is_light(plain):
    assert "@media screen and (prefers-color-scheme: dark)" in plain.source
    assert "prefers-color-scheme: dark" not in plain.source.partition("@media print")[2]


def test_what_the_pipeline_gives_no_numbers_for_is_said(tmp_path):
    metrics = make_metrics()
    metrics["curve"] = metrics["versus"] = None
    metrics["calibration"] = {"tokens": None, "entities": None}
    metrics["scores"] = {
        name: value
        for name, value in metrics["scores"].items()
        if not name.endswith(("ece", "brier", "nll"))
    }
    shown = page(tmp_path, metrics, [])
    assert "There are none." in shown.words
    assert "Not shown" in shown.words
    assert "states no probability of a token's class" in shown.words
    assert "states no confidence of an entity" in shown.words
    assert "Token ECE" not in shown.words
    assert "Comparison" not in shown.words
    assert [tag for tag, _ in shown.elements].count("svg") == 1


def test_there_is_no_text_of_a_note_unless_asked(plain, full):
    assert "This report holds no text of any note." in plain.words
    assert "Worst errors" not in plain.words
    assert "This report holds text of notes" in full.words
    assert "holds no text" not in full.words


def test_errors_are_marked_in_their_text(full):
    assert "1. Wrong: Disease_disorder, confidence 97.3%" in full.words
    assert "2. Missed: <script>" in full.words
    assert "fever <38 since" in full.words
    marks = [attrs["style"] or "" for tag, attrs in full.elements if tag == "mark"]
    for mark, label in zip(marks[:2], ("Sign_symptom", "Disease_disorder"), strict=True):
        assert DISPLACY_COLORS[label] in mark
    assert ["Severity", "1.500", "25.0%", "17", "412–419"] in full.rows


def test_names_are_never_markup(tmp_path):
    metrics, errors = make_metrics(), make_errors()
    metrics["types"] = {HOSTILE: metrics["types"]["Time"], **metrics["types"]}
    metrics["confusion"]["classes"][1] = HOSTILE  # among the commonest confusions
    metrics["model"] = metrics["versus"]["model"] = HOSTILE
    errors[0]["neighbors"][0]["label"] = HOSTILE
    shown = page(tmp_path, metrics, errors)
    tags = {tag for tag, _ in shown.elements}
    assert not tags & {"script", "img", "link", "iframe", "object"}
    assert not any(name.startswith("on") for _, attrs in shown.elements for name in attrs)
    assert shown.words.count('<script>alert("x")</script>') >= 8


def test_the_page_needs_nothing_from_elsewhere(full):
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<]*", full.source)) <= namespaces
    links = full.attributes("href") + full.attributes("xlink:href")
    assert all(link.startswith("#") for link in links)
    assert not full.attributes("src")
    assert not re.search(r"@import|@font-face|url\((?!#)", full.source)
    assert len(full.source.encode()) < 1_000_000


def test_the_page_can_be_navigated(full):
    ids = full.attributes("id")
    assert len(ids) == len(set(ids))
    links = [link[1:] for link in full.attributes("href")]
    assert {*links, *full.attributes("aria-labelledby")} <= set(ids)
    assert all(attrs.get("scope") for tag, attrs in full.elements if tag == "th")
    assert all(attrs.get("aria-label") for tag, attrs in full.elements if tag == "svg")
    levels = [int(tag[1]) for tag, _ in full.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_same_figures_give_the_same_bytes(full, tmp_path):
    assert page(tmp_path, make_metrics(), make_errors()).source == full.source


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BtlError, match=r"matplotlib.*pip install '\.\[report\]'"):
        write_report(make_metrics(), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_stands_out_from_what_is_behind_it(theme):
    """WCAG 2's AA: a contrast of 4.5 for text, 3 for what is drawn."""
    sheet = files("spacy_btl.evaluation").joinpath("report.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", sheet, flags=re.DOTALL)[theme]
    color = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    pairs = [
        *((text, "page", 4.5) for text in ("ink", "muted", "accent", "good", "bad")),
        *(("ink", ground, 4.5) for ground in ("panel", "warn", "heat")),
        ("muted", "panel", 4.5),
        ("accent", "warn", 4.5),
        ("second", "page", 3),
        ("accent", "band", 3),
    ]
    for text, ground, least in pairs:
        assert contrast(color[text], color[ground]) >= least, (text, ground)


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])
