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
    CONFIDENCE: "entity ECE",
}


class Key(NamedTuple):
    """A result: the experiment, the arm, the decoding and the corpus."""

    experiment: str
    arm: str
    decoding: str
    corpus: str = "MACCROBAT"


AVERAGED = "BTL and ATL, random windows, averaged"
DEFAULT = Key("seeds", AVERAGED, "transitions 0.15, tau 0.15")
STANDARD = Key("seeds", "ATL", "arg-max")
MAPPED = Key("second_seed", "ATL", "arg-max, mapped on dev")
CALIBRATED = Key("ensembles", "ATL", "calibrator, tau 0.15")
WITHOUT_BTL = Key(
    "ensembles", "ATL of two orders, random windows, averaged", "calibrator, tau 0.15"
)
WITH_BTL = Key("ensembles", AVERAGED, "calibrator, tau 0.15")
WITHOUT_BTL_TESTED = WITHOUT_BTL._replace(experiment="against_default")  # against WITH_BTL
PAPER = Key("ablation", "BTL", "kNN")
SPACY = Key("spacy_ner", "spaCy's ner", "as it is")
BESIDE_SPACY = Key("spacy_ner", AVERAGED, "calibrator, tau 0.15")
OVERLAPPING = Key("overlap", "overlapping", "calibrator, tau 0.15", "MACCROBAT, all mentions")
ON_CHIA = OVERLAPPING._replace(corpus="Chia")
FLAT_ON_CHIA = ON_CHIA._replace(arm="one label per token")
# A result of two seeds pools two calibrators per fold: the ECE of one is that of the second seed.
ONE_CALIBRATOR = {
    DEFAULT: DEFAULT._replace(experiment="second_seed"),
    STANDARD: STANDARD._replace(experiment="second_seed"),
}
ROWS = {
    STANDARD: "standard fine-tuning, argmax",
    CALIBRATED: "the same, with `knn_calibrator`",
    DEFAULT: "**default pipeline**: a BTL and a standard network, averaged, with `knn_calibrator`",
    OVERLAPPING: "**`spans_key`**: one BTL network, with `knn_calibrator` ¶",
    PAPER: "BTL (`pair`) and kNN with the paper's weights †",
    SPACY: "spaCy's `ner`, one fold ‡",
}
NOTES = """\
Percent. UAR is the mean recall of the types and `O`; token F1 is a mean over the same classes.
Entity F1 is strict. Entity ECE is the mean gap between the confidence of entities and their
precision, as a mean over the folds. Rows 1 and 3 are means of two seeds, their ECE of one.
\\* p < 0.05 against standard fine-tuning. † Its counts were not kept: its tests cannot be computed
again, and its ECE pools the folds. ‡ Not tested here; on that fold
[the default pipeline](docs/technical_report.md#spacys-own-ner) has {beside_spacy}. ¶ One seed; not
tested here; a token counts in each of its types.
"""
CLAIM = """\
Binary Token Labels in one of the two networks add {gain} points of UAR (p = {p}, one seed). In
these runs, not tested, the ten rarest types have a mean recall of {with_btl} with BTL and {without}
without. The rest of the gain comes from masking, averaging and the calibrator. Calibration maps
alone reduce the entity ECE of standard fine-tuning from {overconfident} to {mapped}. In Chia's
trial criteria a third of the mentions overlap: there `spans_key` has a mention F1 of {overlapping},
the default pipeline {flat}, and it finds {found} percent of the mentions that one label per token
has no room for ({chia_folds} folds).
"""


def claim() -> str:
    """What comes from Binary Token Labels, and what does not."""
    tested = measured(WITHOUT_BTL_TESTED)["versus_baseline"]["tag_uar"]
    claim = CLAIM.format(
        gain=f"{-100 * tested['difference']:.1f}",
        p=f"{tested['p_holm']:.3f}",
        with_btl=of_rarest(WITH_BTL, "tag_r"),
        without=of_rarest(WITHOUT_BTL, "tag_r"),
        overconfident=entity_ece(STANDARD),
        mapped=entity_ece(MAPPED),
        chia_folds=len(measured(ON_CHIA)["folds"]),
        overlapping=figure(ON_CHIA, "spans_btl_f"),
        flat=figure(FLAT_ON_CHIA, "spans_btl_f"),
        found=figure(ON_CHIA, "spans_btl_r_lost"),
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
        lines.append(f"| {title} | {' | '.join(cells)} | {entity_ece(key)} |")
    beside = " / ".join(figure(BESIDE_SPACY, name).rstrip("*") for name in TESTED)
    return "\n".join(lines) + "\n\n" + filled(NOTES.format(beside_spacy=beside))


def filled(text: str) -> str:
    """A paragraph in lines of at most 120 columns."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n"


def measured(key: Key) -> dict[str, Any]:
    """The result of an experiment by an arm and a decoding."""
    results = read_results(RESULTS / key.experiment)["results"]
    names = ("arm", "decoding", "corpus")
    return next(row for row in results if tuple(row[name] for name in names) == key[1:])


def figure(key: Key, name: str) -> str:
    """A figure in percent, with a star where it differs from standard fine-tuning, if that is the
    baseline of its experiment."""
    result = measured(key)
    against = read_results(RESULTS / key.experiment)["baseline"][0]
    tested = result.get("versus_baseline", {}).get(name) if against == STANDARD.arm else None
    star = "*" if tested and tested["p_holm"] < 0.05 else ""
    return f"{100 * result['scores'][name]['value']:.1f}{star}"


def entity_ece(key: Key) -> str:
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
