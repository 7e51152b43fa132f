"""Colours of types: told apart, legible, and always the same."""

from itertools import combinations

import pytest

from spacy_btl.colors import DISPLACY_COLORS, NEAR, OTHERS, _between, color_of, colors_of


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("prefix", ["PROBLEM-", "befund_", "类型"])
def test_types_of_ones_own_can_be_told_apart(prefix):
    labels = [f"{prefix}{number}" for number in range(16)]
    colors = colors_of(labels)
    assert colors == colors_of(reversed(labels))
    for first, second in combinations(colors.values(), 2):
        assert _between(first, second) >= NEAR


def test_a_type_keeps_its_colour_where_none_is_near():
    assert colors_of(["Gene"]) == {"Gene": color_of("Gene")}
    assert colors_of(DISPLACY_COLORS) == DISPLACY_COLORS
    twins = colors_of(["problem", "PROBLEM", "Date"])
    assert len(set(twins.values())) == 3
    assert twins["Date"] == DISPLACY_COLORS["Date"]


def test_dark_letters_are_legible_on_all():
    for color in (*OTHERS, *DISPLACY_COLORS.values()):
        contrast = (luminance(color) + 0.05) / (luminance("#1b1f24") + 0.05)
        assert contrast > 4.5, color
