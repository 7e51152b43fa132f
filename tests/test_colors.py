"""Colours of types: told apart, legible, and always the same. Mentions drawn in their text."""

import re
from html.parser import HTMLParser
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_btl.colors import (
    DARK_PAGE,
    DISPLACY_COLORS,
    LIGHT_PAGE,
    NEAR,
    OTHERS,
    _between,
    color_of,
    colors_of,
    contrast,
    faded,
)
from spacy_btl.marks import MAX_DEPTH, Mention, drawn


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


@pytest.mark.parametrize("page", [LIGHT_PAGE, DARK_PAGE])
def test_a_colour_is_the_nearer_to_the_page_the_lower_the_confidence_and_stays_legible(page):
    for color in (*OTHERS, *DISPLACY_COLORS.values()):
        assert faded(color, None, page)[0] == faded(color, 1.0, page)[0] == color
        faded_all = [faded(color, value / 20, page) for value in range(21)]
        assert min(contrast(letters, mixed) for mixed, letters in faded_all) >= 4.5, color
        distances = [contrast(mixed, page) for mixed, _ in faded_all]
        assert distances == sorted(distances)


def test_what_is_rather_wrong_than_right_is_dashed():
    source = drawn("ab", [Mention(0, 1, "A", 0.49), Mention(1, 2, "A", 0.5)], colors_of("A"))
    assert ["dashed" in mark for mark in source.split("<mark")[1:]] == [True, False]


def test_dark_letters_are_legible_on_all():
    for color in (*OTHERS, *DISPLACY_COLORS.values()):
        assert contrast(color, "#1b1f24") > 4.5, color


class Drawing(HTMLParser):
    """The words of a drawing without its labels, and where each mark begins and ends in them."""

    def __init__(self, mentions, text):
        super().__init__()
        self.words = ""
        self.places: list[tuple[str, int, int]] = []
        self.depth = 0
        self._open: list[tuple[str, int]] = []
        self._labels = 0
        labels = {mention.label for mention in mentions}
        self.source = drawn(text, mentions, colors_of(labels))
        self.feed(self.source)
        assert not self._open

    def handle_starttag(self, tag, attrs):
        if tag == "mark":
            self._open.append((dict(attrs)["title"], len(self.words)))
            self.depth = max(self.depth, len(self._open))
        elif tag == "span":
            self._labels += 1
            if self._labels == 1:
                self.words = self.words[:-1]  # the space before the label
        elif tag == "br":
            self.words += "\n"

    def handle_endtag(self, tag):
        if tag == "mark":
            title, start = self._open.pop()
            self.places.append((title, start, len(self.words)))
        elif tag == "span":
            self._labels -= 1

    def handle_data(self, data):
        if not self._labels:
            self.words += data


TEXT = "no fever, chills or\nsevere chest pain on <effort>"


def title(mention):
    return f"{mention.label}, characters {mention.start} to {mention.end}"


@given(
    st.lists(
        st.builds(
            lambda start, length, label: Mention(start, min(start + length, len(TEXT)), label, 0.5),
            st.integers(0, len(TEXT) - 1),
            st.integers(1, 20),
            st.sampled_from(["Sign", "Test", "<b>"]),
        ),
        max_size=7,
        unique=True,
    )
)
def test_every_mention_is_drawn_around_its_own_characters(mentions):
    """In as many pieces as crossing mentions need, which together cover it once."""
    drawing = Drawing(mentions, TEXT)
    assert drawing.words == TEXT
    assert "<b>" not in drawing.source
    for mention in mentions:
        pieces = sorted(piece[1:] for piece in drawing.places if piece[0] == title(mention))
        assert (pieces[0][0], pieces[-1][1]) == (mention.start, mention.end)
        assert all(one[1] == other[0] for one, other in pairwise(pieces))
    crossings = [
        pair for pair in combinations(mentions, 2)
        if any(a.start < b.start < a.end < b.end for a, b in (pair, pair[::-1]))
    ]  # fmt: skip
    if not crossings:
        assert len(drawing.places) == len(mentions)
    assert drawing.source.count("0.50") == len(mentions)  # a label each


def test_marks_within_marks_are_higher_and_labels_wrap():
    outer, inner = Mention(0, 17, "Negation", 0.93), Mention(10, 16, "Sign", 0.8)
    drawing = Drawing([outer, inner, Mention(3, 8, "Sign")], TEXT)
    heights = re.findall(
        r'title="(\w+).*?padding:([\d.]+)em.*?line-height:([\d.]+)em', drawing.source
    )
    assert heights == [
        ("Negation", "0.32", "2.30"),
        ("Sign", "0.12", "1.90"),
        ("Sign", "0.12", "1.90"),
    ]
    ends = Drawing([Mention(3, 8, "Sign"), Mention(0, 8, "Negation")], TEXT).source
    assert "fever&nbsp;<span" in ends  # no line begins with the first label
    assert "</mark> <span" in ends  # one may with the next
    assert Drawing([], TEXT).words == TEXT


def test_ten_thousand_mentions_are_drawn_and_those_too_deep_are_counted():
    text = "w" * 20_010
    mentions = [Mention(i, i + 10_000, "AB"[i % 2]) for i in range(10_000)]
    source = drawn(text, mentions, colors_of("AB"))
    assert source.count("<mark") <= MAX_DEPTH * MAX_DEPTH
    assert f"Not drawn, since {MAX_DEPTH} others are around them: {10_000 - MAX_DEPTH:,}." in source
    nested = [Mention(i, 20_000 - i, "A") for i in range(9_000)]
    assert Drawing(nested[:20], text).depth == MAX_DEPTH
    apart = [Mention(2 * i, 2 * i + 2, "AB"[i % 2]) for i in range(10_000)]
    assert drawn(text, apart, colors_of("AB")).count("<mark") == 10_000
