"""Colours for displaCy: one pastel for each of the 33 entity types, alike types in like hues."""

from colorsys import hls_to_rgb
from zlib import crc32

DISPLACY_COLORS = {
    # the person
    "Age": "#ffe4b6",
    "Sex": "#ffcc80",
    "Personal_background": "#fdd79c",
    "Subject": "#ffeace",
    "Activity": "#ded7ac",
    "History": "#e9cba7",
    "Family_history": "#cab68e",
    # what is wrong
    "Sign_symptom": "#ffcdd2",
    "Disease_disorder": "#ff9e9e",
    "Severity": "#ffb8a8",
    "Outcome": "#f6a5b8",
    # how it was found
    "Diagnostic_procedure": "#bcddfa",
    "Lab_value": "#a8e6ff",
    "Quantitative_concept": "#9ecde0",
    "Qualitative_concept": "#b6c1db",
    # what was done
    "Therapeutic_procedure": "#a5d6a7",
    "Medication": "#c5e5c9",
    "Dosage": "#e2f2cb",
    "Administration": "#c5e1a5",
    "Frequency": "#d8e99c",
    # where in the body, and what it is like
    "Biological_structure": "#e5bce3",
    "Detailed_description": "#eadcf2",
    "Color": "#d1cef2",
    "Texture": "#c6b1d3",
    "Shape": "#dab6fc",
    "Distance": "#dac6f6",
    "Area": "#b9b0e3",
    # when, where and who
    "Date": "#b6eff7",
    "Time": "#92dfe1",
    "Duration": "#aedcd5",
    "Clinical_event": "#fff59d",
    "Nonbiological_location": "#ece69e",
    "Coreference": "#d7d7d7",
}


def color_of(label: str) -> str:
    """The colour of a type: for one that is not among the 33 a pastel that its name decides."""
    if label in DISPLACY_COLORS:
        return DISPLACY_COLORS[label]
    number = crc32(label.encode("utf-8"))
    hue, lightness = number % 360 / 360, 0.78 + number // 360 % 5 * 0.025
    return "#" + "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue, lightness, 0.75))
