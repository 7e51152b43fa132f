"""Colours for displaCy: one pastel for each of the 33 entity types, alike types in like hues."""

DISPLACY_COLORS = {
    # the person
    "Age": "#ffe0b2",
    "Sex": "#ffcc80",
    "Personal_background": "#ffd9a0",
    "Subject": "#ffe9c7",
    "Activity": "#f3d9b1",
    "History": "#e8cfa8",
    "Family_history": "#dcc39c",
    # what is wrong
    "Sign_symptom": "#ffcdd2",
    "Disease_disorder": "#ff9e9e",
    "Severity": "#ffb8a8",
    "Outcome": "#f6a5b8",
    # how it was found
    "Diagnostic_procedure": "#bbdefb",
    "Lab_value": "#b3e5fc",
    "Quantitative_concept": "#a7d8f0",
    "Qualitative_concept": "#c5cae9",
    # what was done
    "Therapeutic_procedure": "#a5d6a7",
    "Medication": "#c8e6c9",
    "Dosage": "#dcedc8",
    "Administration": "#c5e1a5",
    "Frequency": "#d4e4a1",
    # where in the body, and what it is like
    "Biological_structure": "#e1bee7",
    "Detailed_description": "#eadcf2",
    "Color": "#d1c4e9",
    "Texture": "#ccb8de",
    "Shape": "#dab6fc",
    "Distance": "#cfc0f0",
    "Area": "#bfb1e3",
    # when, where and who
    "Date": "#b2ebf2",
    "Time": "#9fdfe0",
    "Duration": "#b2dfdb",
    "Clinical_event": "#fff59d",
    "Nonbiological_location": "#f0eb9e",
    "Coreference": "#d7d7d7",
}
