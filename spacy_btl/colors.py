"""Colours for displaCy: a pastel for each of the 33 entity types, like hues for like types.

All are light, for dark letters on light and dark pages. What is less sure is paler: nearer to the
page.
"""

from collections.abc import Iterable
from colorsys import hls_to_rgb
from itertools import product
from zlib import adler32

DISPLACY_COLORS = {
    # the patient
    "Age": "#ffe4b6",
    "Sex": "#ffcc80",
    "Personal_background": "#fdd79c",
    "Subject": "#ffeace",
    "Activity": "#ded7ac",
    "History": "#e9cba7",
    "Family_history": "#cab68e",
    # findings and diseases
    "Sign_symptom": "#ffcdd2",
    "Disease_disorder": "#ff9e9e",
    "Severity": "#ffb8a8",
    "Outcome": "#f6a5b8",
    # examinations and their results
    "Diagnostic_procedure": "#bcddfa",
    "Lab_value": "#a8e6ff",
    "Quantitative_concept": "#9ecde0",
    "Qualitative_concept": "#b6c1db",
    # treatment
    "Therapeutic_procedure": "#a5d6a7",
    "Medication": "#c5e5c9",
    "Dosage": "#e2f2cb",
    "Administration": "#c5e1a5",
    "Frequency": "#d8e99c",
    # anatomy and description
    "Biological_structure": "#e5bce3",
    "Detailed_description": "#eadcf2",
    "Color": "#d1cef2",
    "Texture": "#c6b1d3",
    "Shape": "#dab6fc",
    "Distance": "#dac6f6",
    "Area": "#b9b0e3",
    # time, place and references
    "Date": "#b6eff7",
    "Time": "#92dfe1",
    "Duration": "#aedcd5",
    "Clinical_event": "#fff59d",
    "Nonbiological_location": "#ece69e",
    "Coreference": "#d7d7d7",
}


# The colours of other types: all hues, paler and stronger.
OTHERS = tuple(
    "#" + "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue / 24, lightness, 0.75))
    for lightness, hue in product((0.84, 0.78, 0.9), range(24))
)
NEAR = 40.0  # the distance of two colours that are easily confused
LIGHT_PAGE, DARK_PAGE = "#ffffff", "#14171c"
BLACK, WHITE = "#000000", "#ffffff"  # one of them has a contrast of 4.58 with any colour
PALEST = 0.12  # the share of a colour where the confidence is 0


def color_of(label: str) -> str:
    """The colour of a type. Beyond the 33, the hash of its name chooses a pastel."""
    return DISPLACY_COLORS.get(label) or OTHERS[adler32(label.encode("utf-8")) % len(OTHERS)]


def colors_of(labels: Iterable[str]) -> dict[str, str]:
    """The colours of types that are shown together. A colour near to one that is taken is replaced.
    The same types always have the same colours."""
    colors: dict[str, str] = {}
    for label in sorted(set(labels), key=lambda label: (label not in DISPLACY_COLORS, label)):
        color = color_of(label)
        if label not in DISPLACY_COLORS and _distance(color, colors.values()) < NEAR:
            color = max(OTHERS, key=lambda other: _distance(other, colors.values()))
        colors[label] = color
    return colors


def _distance(color: str, others: Iterable[str]) -> float:
    """How far a colour is from the nearest of others, 0 to about 760 ("redmean")."""
    return min((_between(color, other) for other in others), default=float("inf"))


def _between(first: str, second: str) -> float:
    (r, g, b), (s, h, c) = _parts(first), _parts(second)
    red = (r + s) / 2
    return (
        (2 + red / 256) * (r - s) ** 2 + 4 * (g - h) ** 2 + (2 + (255 - red) / 256) * (b - c) ** 2
    ) ** 0.5


def faded(color: str, confidence: float | None, page: str) -> tuple[str, str]:
    """A colour that is the nearer to that of the page the lower a confidence is, and letters that
    are legible on it. Without a confidence it is the colour itself."""
    share = 1.0 if confidence is None else PALEST + (1 - PALEST) * confidence**2
    mixed = "#" + "".join(
        f"{round(share * one + (1 - share) * other):02x}"
        for one, other in zip(_parts(color), _parts(page), strict=True)
    )
    return mixed, max((BLACK, WHITE), key=lambda letters: contrast(letters, mixed))


def contrast(first: str, second: str) -> float:
    """The contrast of two colours by WCAG 2, from 1 to 21; 4.5 is legible (level AA)."""
    dark, light = sorted((_luminance(first), _luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = (part / 255 for part in _parts(color))
    r, g, b = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    )
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def _parts(color: str) -> list[int]:
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]
