"""Train a network in this process, step by step, so that the time left is known."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spacy import registry, util
from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import train

from spacy_btl.pipelines import save_whole

RECIPE = Path(__file__).with_name("recipe.cfg")
SPANS_KEY = "btl"
BTL = "spacy_btl.BinaryTokenLabels.v1"
LOSSES: Mapping[str, dict[str, Any]] = {
    "btl": {"@losses": BTL},
    "standard": {"@losses": "spacy_btl.AllTokenLabels.v1"},
}
# docs/overlapping.md
OVERLAPPING = {"@losses": BTL, "competition": "pair", "class_weights": "fourth_root_odds"}
CALLBACK = "spacy_btl_fit.on_step"


def settings_of(
    loss: str, *, overlapping: bool, lang: str, steps: int, seed: int, rate: float, window: int
) -> dict[str, Any]:
    """The settings of a network, by their dotted names, that differ from recipe.cfg's.

    loss (str): A key of `LOSSES`.
    """
    return {
        "nlp.lang": lang,
        "system.seed": seed,
        "components.ner.loss": OVERLAPPING if overlapping else LOSSES[loss],
        **({"components.ner.spans_key": SPANS_KEY} if overlapping else {}),
        "components.transformer.model.window": window,
        "components.transformer.model.overlap": window // 8,
        "training.max_steps": steps,
        # The last network is taken, so nothing is chosen by the development documents.
        "training.eval_frequency": steps,
        "training.optimizer.learn_rate.warmup_steps": max(1, steps // 10),
        "training.optimizer.learn_rate.initial_rate": rate,
    }


def train_network(
    settings: Mapping[str, Any],
    paths: Mapping[str, str],
    output: Path,
    log: Path,
    *,
    gpu: int,
    on_step: Callable[[], None],
) -> None:
    """Train a network, and save its pipeline whole.

    settings (Mapping[str, Any]): See `settings_of`.
    paths (Mapping[str, str]): `paths` of the config: "train", "dev" and "encoder".
    log (Path): The file for what spaCy prints.
    on_step (Callable): Is called before each step.
    """

    def make_callback() -> Callable[[Language, dict[str, Any]], None]:
        return lambda _nlp, _place: on_step()

    registry.callbacks.register(CALLBACK, func=make_callback)
    overrides = {**settings, **{f"paths.{name}": value for name, value in paths.items()}}
    overrides["training.before_update"] = {"@callbacks": CALLBACK}
    config = util.load_config(RECIPE, overrides=overrides, interpolate=False)
    nlp = init_nlp(config, use_gpu=gpu)
    with log.open("w", encoding="utf-8") as stream:
        train(nlp, None, use_gpu=gpu, stdout=stream, stderr=stream)
    nlp.config["training"]["before_update"] = None
    save_whole(nlp, output)
    del nlp
    gc.collect()
