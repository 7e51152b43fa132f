"""Plots: what they show, and that they fit into a page of any colour."""

import re
from xml.etree import ElementTree

import matplotlib
import pytest
from markupsafe import Markup

from spacy_btl.evaluation.plots import MAX_CLASSES, confusion_plot, curve_plot, reliability_plot

CURVE = [
    {"tau": tau / 4, "tag_uar": 0.6 + 0.03 * tau, "tag_macro_f": 0.6 - 0.004 * tau**2}
    for tau in range(-2, 7)
]
BINS = [
    {"n": 0, "confidence": None, "accuracy": None},
    {"n": 1250, "confidence": 0.4, "accuracy": 0.3},
    {"n": 34, "confidence": 0.9, "accuracy": 0.8},
]
SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"


def texts(plot: Markup) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(plot).iter(f"{SVG}text"))


def words(plot: Markup) -> list[str]:
    return [element.text or "" for element in texts(plot)]


def ids(plot: Markup) -> set[str]:
    return {e.attrib["id"] for e in ElementTree.fromstring(plot).iter() if "id" in e.attrib}


def all_plots() -> list[Markup]:
    return [
        curve_plot(CURVE, tag_uar=0.6, tag_macro_f=0.6),
        reliability_plot(BINS, things="tokens"),
        reliability_plot(BINS, things="entities"),
        confusion_plot(["O", "Drug"], [[0, 0, 6], [0, 1, 4], [1, 0, 1], [1, 1, 9]]),
    ]


def test_every_tau_is_a_point_and_zero_is_labelled():
    plot = curve_plot(CURVE, tag_uar=0.5, tag_macro_f=0.5)
    shown = words(plot)
    assert {"0", "1", "UAR", "token macro F1", "this pipeline"} <= set(shown)
    markers = [
        use.attrib[f"{XLINK}href"]
        for use in ElementTree.fromstring(plot).iter(f"{SVG}use")
        if "--accent" in use.attrib.get("style", "")
    ]
    assert len(markers) == len(CURVE)


def test_points_on_one_spot_share_a_label():
    flat = [{"tau": tau, "tag_uar": 0.5, "tag_macro_f": 0.5} for tau in (0.0, 0.5, 1.0)]
    shown = words(curve_plot(flat, tag_uar=0.5, tag_macro_f=0.5))
    assert "0" in shown
    assert "0.5" not in shown


def test_a_curve_of_one_point_is_drawn():
    assert "0.5" in words(curve_plot([{**CURVE[0], "tau": 0.5}], tag_uar=0.6, tag_macro_f=0.6))


def test_reliability_shows_how_many_each_bin_holds():
    shown = words(reliability_plot(BINS, things="entities"))
    assert {"1,250", "34", "entities per bin", "correct entities"} <= set(shown)
    assert not any("None" in word for word in shown)


def test_confusion_is_in_percent_of_the_row_with_gold_classes_as_rows():
    plot = confusion_plot(["O", "Drug"], [[0, 0, 6], [0, 1, 4], [1, 0, 10], [1, 1, 90]])
    cells = {
        element.text: (float(element.attrib["x"]), float(element.attrib["y"]))
        for element in texts(plot)
        if element.text in {"60", "40", "10", "90"}
    }
    assert cells["40"][0] > cells["60"][0]
    assert cells["40"][1] == cells["60"][1]
    assert cells["10"][0] == cells["60"][0]
    assert cells["10"][1] > cells["60"][1]
    assert {"O (10)", "Drug (100)", "O", "Drug"} <= set(words(plot))


def test_a_class_that_is_only_predicted_has_an_empty_row():
    plot = confusion_plot(["O", "Ghost"], [[0, 0, 3], [0, 1, 1]])
    assert "Ghost (0)" in words(plot)
    assert [word for word in words(plot) if word.isdigit()] == ["75", "25"]


def test_of_too_many_classes_the_commonest_are_drawn():
    n = MAX_CLASSES + 5
    cells = [[i, i, i + 1] for i in range(n)]
    shown = words(confusion_plot([f"T{i}" for i in range(n)], cells))
    assert "T4" not in shown
    assert {"T5", f"T{n - 1}"} <= set(shown)


@pytest.mark.parametrize("name", ["$x_1^2$ & <b>", "类型", "#000001", ' id="x" url(#y)'])
def test_names_are_drawn_as_they_are(name):
    shown = words(confusion_plot(["O", name], [[0, 0, 1], [1, 1, 1]]))
    assert name in shown
    assert f"{name} (1)" in shown


def test_all_colours_are_those_of_the_page():
    for plot in all_plots():
        assert not re.search(r"(fill|stroke): *(#|rgb|black|white)", plot)
        assert set(re.findall(r"var\(--(\w+)\)", plot)) <= {
            "ink", "muted", "rule", "accent", "second", "heat",
        }  # fmt: skip
        for element in texts(plot):
            assert "fill: var(" in element.attrib["style"]
            assert "font-family" not in element.attrib["style"]


def test_plots_on_one_page_share_no_id():
    found = [ids(plot) for plot in all_plots()]
    assert len(set().union(*found)) == sum(map(len, found))


def test_references_point_into_their_own_plot():
    for plot in all_plots():
        referred = re.findall(r'href="#([^"]+)"', plot) + re.findall(r"url\(#([^)]+)\)", plot)
        assert referred
        assert set(referred) <= ids(plot)


def test_the_same_figures_give_the_same_bytes_whatever_the_user_has_set():
    before = all_plots()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None}):
        assert all_plots() == before


def test_a_screen_reader_is_told_what_is_shown():
    for plot in all_plots():
        svg = ElementTree.fromstring(plot)
        assert svg.attrib["role"] == "img"
        assert len(svg.attrib["aria-label"]) > 40
