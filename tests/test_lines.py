"""Lines of notes: which are full, which are short, and what parts paragraphs."""

import textwrap

import pytest
import spacy

from spacy_btl.lines import FULL_LINE, OTHER_LINE, PARAGRAPH, SAME_LINE, read_lines

NLP = spacy.blank("en")
PROSE = (
    "The patient was admitted with severe chest pain radiating to the left arm and shortness of "
    "breath. An ECG on arrival showed ST elevation in the anterior leads, and troponin was raised."
)
# What lies before each token, as read_lines has it.
LETTERS = {SAME_LINE: "s", FULL_LINE: "f", OTHER_LINE: "o", PARAGRAPH: "P"}


def breaks(text: str) -> str:
    return "".join(LETTERS[kind] for kind in read_lines(NLP.make_doc(text)).breaks.tolist())


@pytest.mark.parametrize("width", [45, 60, 72, 80])
@pytest.mark.parametrize("end", ["\n", "\r\n", " \n", "\u2028", "\x85", "\r"])
def test_lines_that_are_wrapped_are_full(width: int, end: str) -> None:
    lines = textwrap.wrap(PROSE, width)
    text = end.join(lines)
    assert breaks(text).count("f") == len(lines) - 1 == len(breaks(text).replace("s", "")) - 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ""),
        (" \n ", ""),
        ("fever", "P"),
        ("severe chest\npain today", "Psfs"),
        ("severe chest\n\npain today", "PsPs"),
        ("severe chest\r\n \r\npain", "PsP"),
        ("severe chest\fpain today", "PsPs"),
        ("severe chest\u2029pain today", "PsPs"),
        ("severe chest\vpain today", "Psfs"),
        ("\n\nfever\n", "P"),
        ("before the list\nfever\ncough", "Pssfo"),
    ],
)
def test_what_parts_the_words(text: str, found: str) -> None:
    assert breaks(text) == found


def test_a_line_with_room_for_the_next_word_is_not_full() -> None:
    text = f"{PROSE}\nMetoprolol 25 mg\nAspirin 100 mg\n\n{PROSE}"
    assert breaks(text).replace("s", "") == "PooP"


def test_a_few_wide_lines_do_not_hide_the_width() -> None:
    lines = textwrap.wrap(" ".join([PROSE] * 5), 72)
    lines[3] += "-" * 40
    found = breaks("\n".join(lines)).replace("s", "")
    assert found == "P" + "f" * (len(lines) - 1)


def test_short_lines_and_the_places_of_words() -> None:
    doc = NLP.make_doc(f"Fever.  \n{PROSE}\nNone")
    words, _, short = read_lines(doc)
    assert [doc[i].text for i in words.tolist()] == [t.text for t in doc if not t.is_space]
    assert short.tolist() == [True, True] + [False] * (len(words) - 3) + [True]
