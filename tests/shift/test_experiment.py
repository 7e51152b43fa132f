"""The script of the experiment: its estimates against their formulas, and the changed notes."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc, Span

SCRIPT = runpy.run_path(str(Path(__file__).parent.parent.parent / "experiments" / "shift.py"))


def test_em_finds_the_shares_that_made_up_classes_have():
    """Classes of known densities: the maximum of the likelihood of the shares."""
    rng = np.random.default_rng(0)
    means, prior, shares = np.array([-2.0, 0.0, 2.0]), np.full(3, 1 / 3), np.array([0.7, 0.2, 0.1])
    classes = rng.choice(3, 20_000, p=shares)
    x = rng.normal(means[classes], 1)
    densities = np.exp(-((x[:, None] - means) ** 2) / 2)
    p = densities * prior
    p /= p.sum(axis=1, keepdims=True)
    found = SCRIPT["em_prior"](p, prior)
    np.testing.assert_allclose(found, shares, atol=0.02)
    # At the maximum the shares are the means of the corrected probabilities.
    corrected = p * found / prior
    corrected /= corrected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(corrected.mean(axis=0), found, atol=1e-6)
    one = SCRIPT["em_prior"](p, prior, steps=1)
    np.testing.assert_allclose(one, p.mean(axis=0))


def test_calibration_error_is_that_of_fifteen_bins():
    confidence = np.array([0.05, 0.05, 0.95, 0.95])
    correct = np.array([True, False, True, True])
    assert SCRIPT["ece"](confidence, correct) == pytest.approx(100 * (0.9 + 0.1) / 4)


def test_average_thresholded_confidence_keeps_the_accuracy_of_the_source():
    rng = np.random.default_rng(1)
    confidence = rng.random(1000)
    held_out = SCRIPT["Measured"](confidence, rng.random(1000) < confidence, *[None] * 3)
    found = SCRIPT["above_threshold"](held_out, held_out)
    assert found == pytest.approx(held_out.correct.mean(), abs=2e-3)
    assert SCRIPT["difference_of_confidences"](held_out, held_out) == pytest.approx(
        held_out.correct.mean()
    )


@pytest.fixture
def doc() -> Doc:
    doc = spacy.blank("en")("Past history: none.\nSeen on 3 March, aged 50: Fever")
    spans = [(9, 11, "Date"), (13, 14, "Age"), (15, 16, "Sign")]
    words = [token.text for token in doc]
    first = words.index("3")
    spans = [
        Span(doc, first, first + 2, "Date"),
        Span(doc, words.index("50"), words.index("50") + 1, "Age"),
        Span(doc, words.index("Fever"), words.index("Fever") + 1, "Sign"),
    ]
    doc.set_ents(spans)
    doc.spans["mentions"] = spans
    return doc


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("lower", "past history: none.\nseen on 3 march, aged 50: fever"),
        (
            "placeholders",
            "Past history: none.\nSeen on [**DATE**] [**DATE**], aged [**AGE**]: Fever",
        ),
        ("headings", "none.\nSeen on 3 March, aged 50: Fever"),
    ],
)
def test_a_changed_note_keeps_its_annotation(doc, change, text):
    new = SCRIPT["changed"](doc, change)
    assert new.text == text
    assert [ent.label_ for ent in new.ents] == ["Date", "Age", "Sign"]
    assert new.ents[2].text.lower() == "fever"
    assert [span.label_ for span in new.spans["mentions"]] == ["Date", "Age", "Sign"]
