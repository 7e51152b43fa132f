"""Write the results table of the README, and its claim, from the committed result files."""

import textwrap
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import typer

from spacy_btl.experiments.result_files import read_results
from spacy_btl.experiments.results import TESTED, rarest_types

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "experiments" / "results"
README = ROOT / "README.md"
CONFIDENCE = "ents_ece"
COLUMNS = {
    "tag_uar": "UAR",
    "tag_macro_f": "token F1",
    "ents_f": "entity F1",
    CONFIDENCE: "confidence error",
}


class Key(NamedTuple):
    """A result: the experiment, the arm and the decoding."""

    experiment: str
    arm: str
    decoding: str


AVERAGED = "BTL and ATL, random windows, averaged"
DEFAULT = Key("seeds", AVERAGED, "transitions 0.15, tau 0.15")
STANDARD = Key("seeds", "ATL", "arg-max")
MAPPED = Key("second_seed", "ATL", "arg-max, mapped on dev")
CALIBRATED = Key("ensembles", "ATL", "calibrator, tau 0.15")
WITHOUT_BTL = Key(
    "ensembles", "ATL of two orders, random windows, averaged", "calibrator, tau 0.15"
)
WITH_BTL = Key("ensembles", AVERAGED, "calibrator, tau 0.15")
PAPER = Key("ablation", "BTL", "kNN")
SPACY = Key("spacy_ner", "spaCy's ner", "as it is")
BESIDE_SPACY = Key("spacy_ner", AVERAGED, "calibrator, tau 0.15")
# A result of two seeds pools two calibrators a fold: the error of one is read from the second seed.
ONE_CALIBRATOR = {
    DEFAULT: Key("second_seed", *DEFAULT[1:]),
    STANDARD: Key("second_seed", *STANDARD[1:]),
}
ROWS = {
    STANDARD: "standard fine-tuning, arg-max",
    CALIBRATED: "the same, with `knn_calibrator`",
    WITHOUT_BTL: "two standard networks, averaged, with `knn_calibrator`",
    DEFAULT: "**default pipeline**: a BTL and a standard network, averaged, with `knn_calibrator`",
    PAPER: "BTL (`pair`) and kNN with the paper's weights †",
    SPACY: "spaCy's `ner`, one fold ‡",
}
NOTES = """\
Percent. UAR is the mean recall of the types and `O`, and token F1 a mean over the same classes.
Entity F1 is strict. Confidence error is the ECE of one calibrator, in points. \\* p < 0.05 against
standard fine-tuning. † Its tests cannot be repeated. ‡ Not tested here; on that fold the default
pipeline has {beside_spacy}.
"""
CLAIM = """\
Binary Token Labels raise the recall of rare types (the ten rarest, not tested: {rare} against the
same training without BTL); the rest of the gain comes from masking, averaging two networks and the
calibrator, and the calibrated confidence from the calibration maps, which alone take standard
fine-tuning from {overconfident} to {mapped}.
"""


def claim() -> str:
    """What comes from Binary Token Labels, and what does not."""
    claim = CLAIM.format(
        rare=f"{of_rarest(WITHOUT_BTL, 'tag_r')} → {of_rarest(WITH_BTL, 'tag_r')}",
        overconfident=confidence_error(STANDARD),
        mapped=confidence_error(MAPPED),
    )
    return filled(claim)


def table() -> str:
    """The rows, as markdown."""
    lines = [
        f"| training and decoding | {' | '.join(COLUMNS.values())} |",
        f"| --- | {' | '.join('---:' for _ in COLUMNS)} |",
    ]
    for key, title in ROWS.items():
        cells = (figure(key, name) for name in TESTED)
        lines.append(f"| {title} | {' | '.join(cells)} | {confidence_error(key)} |")
    beside = " / ".join(figure(BESIDE_SPACY, name).rstrip("*") for name in TESTED)
    return "\n".join(lines) + "\n\n" + filled(NOTES.format(beside_spacy=beside))


def filled(text: str) -> str:
    """A paragraph in lines of at most 120 columns."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def measured(key: Key) -> dict[str, Any]:
    """The result of an experiment by an arm and a decoding."""
    results = read_results(RESULTS / key.experiment)["results"]
    return next(row for row in results if (row["arm"], row["decoding"]) == key[1:])


def figure(key: Key, name: str) -> str:
    """A figure in percent, with a star where it differs from standard fine-tuning."""
    result = measured(key)
    tested = result.get("versus_baseline", {}).get(name)
    star = "*" if tested and tested["p_holm"] < 0.05 else ""
    return f"{100 * result['scores'][name]['value']:.1f}{star}"


def confidence_error(key: Key) -> str:
    """The entity ECE of one calibrator in points, a mean over the folds; over all of them together
    where an experiment kept no figures by fold; a dash where there is no confidence."""
    result = measured(ONE_CALIBRATOR.get(key, key))
    error = result["scores"].get(CONFIDENCE)
    if error is None:
        return "–"
    by_fold = result.get("per_fold", {}).get(CONFIDENCE)
    return f"{100 * (fmean(by_fold) if by_fold else error['value']):.1f}"


def of_rarest(key: Key, name: str) -> str:
    """The mean of a figure over the ten rarest types, in percent."""
    types, rarest = measured(key)["types"], rarest_types(measured(STANDARD))
    return f"{100 * fmean(types[label][name]['value'] for label in rarest):.1f}"


def with_results(readme: str) -> str:
    """The README with its claim and its table written anew."""
    for name, text in {"claim": claim(), "results": table()}.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = readme.split(begin)
        readme = before + begin + text + end + rest.split(end)[1]
    return readme


def main() -> None:
    """Rewrite them in README.md."""
    README.write_text(with_results(README.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
