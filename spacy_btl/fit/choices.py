"""What a run chooses where nothing is given, each with its reason."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from thinc.compat import has_cupy_gpu

from spacy_btl.about import how_to_install
from spacy_btl.calibration.settings import Settings
from spacy_btl.errors import BtlError, counted
from spacy_btl.expressible import MIN_GAIN, Expressible
from spacy_btl.fit.encoder import MINILM, Facts

Effort = Literal["small", "standard", "large"]

WORDS_PER_STEP = 1500  # of recipe.cfg
MIN_MENTIONS = 5
# Encoders of MiniLM's size take a higher learning rate than those of BERT's.
SMALL_ENCODER = 384
LEARNING_RATES = (3e-4, 5e-5)
WINDOW, SHORTEST_WINDOW = 256, 16


class Recipe(NamedTuple):
    """How long to train.

    passes (int): Over the words of the training documents.
    least, most (int): Bounds of the steps.
    networks (int): How many are trained and averaged.
    """

    passes: int
    least: int
    most: int
    networks: int


# `standard` is the recipe of the experiments: MACCROBAT's training documents have 12 passes in 540
# steps, the demo's 300 steps.
RECIPES: Mapping[Effort, Recipe] = {
    "small": Recipe(passes=6, least=150, most=1000, networks=1),
    "standard": Recipe(passes=12, least=300, most=2000, networks=2),
    "large": Recipe(passes=24, least=600, most=4000, networks=2),
}


@dataclass(frozen=True)
class Options:
    """What is asked of a run. What is None is chosen.

    overlapping (Optional[bool]): Whether each type decides for itself, with `spans_key`.
    gpu (Optional[int]): As for `spacy train`; -1 is the CPU.
    name, version (str): Of the package; the name is without its language.
    patients, skip_invalid, trust_offsets, annotator, layers: As for `convert`.
    card (Optional[Path]): The card file, see `exchange.card_file`.
    sections (bool): Whether the pipeline marks headings, see `training.add_sections`.
    context (bool): Whether it writes assertions, see `training.add_context`.
    """

    effort: Effort = "standard"
    encoder: str | None = None
    lang: str | None = None
    min_mentions: int | None = None
    overlapping: bool | None = None
    max_steps: int | None = None
    gpu: int | None = None
    seed: int = 0
    name: str | None = None
    version: str = "0.1.0"
    patients: Path | None = None
    skip_invalid: bool = False
    trust_offsets: bool = False
    annotator: str | None = None
    layers: tuple[str, ...] = ()
    card: Path | None = None
    sections: bool = False
    context: bool = False


class Choice(NamedTuple):
    """A setting of a run, and why it is so."""

    value: Any
    reason: str


GIVEN = "as given"


def choose_min_mentions(given: int | None, mentions: Collection[int]) -> Choice:
    """mentions (Collection[int]): Of each type."""
    if given is not None:
        return Choice(given, GIVEN)
    if max(mentions, default=0) < MIN_MENTIONS:
        return Choice(1, f"no type has {MIN_MENTIONS} mentions")
    few = sum(count < MIN_MENTIONS for count in mentions)
    reason = f"{few} of {len(mentions)} types have fewer: too few to learn from and to measure"
    return Choice(MIN_MENTIONS, reason if few else "every type has as many")


def choose_overlapping(given: bool | None, expressible: Expressible) -> Choice:
    """Whether mentions may overlap."""
    if given is not None:
        return Choice(given, GIVEN)
    total, added = expressible.mentions, expressible.overlapping - expressible.flat
    share = 1000 * added // max(total, 1) / 10  # not rounded up to the limit
    reason = (
        f"spans_key adds {added:,} of {counted(total, 'mention')} ({share:.1f}%), and is taken "
        f"from {MIN_GAIN:.0%} on"
    )
    return Choice(expressible.recommends_spans_key, reason)


def choose_name(given: str | None, notes: Path) -> Choice:
    """The name of the package."""
    if given is not None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", given):
            raise BtlError(
                f"A package cannot be called '{given}': use letters and digits, with single _ "
                "between them."
            )
        return Choice(given, GIVEN)
    words = re.findall(r"[a-z0-9]+", notes.absolute().stem.lower())
    return Choice(
        "_".join(words if words and words[0][0].isalpha() else ["btl", *words]), str(notes)
    )


def choose_gpu(given: int | None) -> Choice:
    """The number of the GPU, or -1 for the CPU."""
    if given is not None:
        return Choice(given, GIVEN)
    if not torch.cuda.is_available():
        return Choice(-1, "torch finds no GPU")
    if not has_cupy_gpu:
        return Choice(-1, f"there is a GPU, but no CuPy: get it {how_to_install('cuda12x')}")
    return Choice(0, torch.cuda.get_device_name(0))


def describe_encoder(given: str | None, lang: str) -> Choice:
    """The encoder as it is called on the card, and why it is used."""
    if given is not None:
        return Choice(given, GIVEN)
    reason = "small enough for a CPU; for English"
    if lang != "en":
        reason += f", and the notes are in '{lang}': give one for that language with --encoder"
    return Choice(MINILM, reason)


def choose_steps(options: Options, words: int, documents: int) -> Choice:
    """The steps of a training.

    words (int): Tokens of the training documents, and how many these are.
    """
    recipe = RECIPES[options.effort]
    if options.max_steps is not None:
        return Choice(options.max_steps, GIVEN)
    wanted = round(recipe.passes * words / WORDS_PER_STEP)
    steps = min(max(wanted, recipe.least), recipe.most)
    reason = (
        f"{recipe.passes} passes over {counted(words, 'word')} in {counted(documents, 'document')}"
    )
    if steps != wanted:
        reason += f" would be {wanted:,}, and {recipe.least:,} to {recipe.most:,} are taken"
    return Choice(steps, reason)


def choose_networks(effort: Effort, overlapping: bool) -> Choice:
    """The networks to train, by their losses."""
    if overlapping:
        return Choice(["btl"], "Binary Token Labels alone decide each type by itself")
    if RECIPES[effort].networks == 1:
        return Choice(["btl"], f"one network for effort {effort}")
    return Choice(["btl", "standard"], "the mean of their weights is better than either")


def choose_learning_rate(facts: Facts) -> Choice:
    """By the size of the encoder."""
    rate = LEARNING_RATES[facts.hidden > SMALL_ENCODER]
    return Choice(rate, f"the encoder's vectors have {facts.hidden} dimensions")


def choose_neighbors(words: int) -> Choice:
    """How many labelled tokens vote. words (int): Tokens of the training documents."""
    usual = Settings().n_neighbors
    most = max(1, words // 2)
    if most < usual:
        return Choice(most, f"there are {words} words to search")
    return Choice(usual, "the recommended number")


def choose_window(facts: Facts) -> Choice:
    """Wordpieces per window."""
    window = min(WINDOW, facts.wordpieces or WINDOW)
    if window < SHORTEST_WINDOW:
        raise BtlError(
            f"The encoder reads {window} wordpieces at once, too few to read notes by: give "
            "another with --encoder."
        )
    return Choice(window, f"the encoder reads {facts.wordpieces or 'any number of'} wordpieces")
