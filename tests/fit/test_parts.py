"""What `fit` chooses, counts, estimates and concludes."""

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch
from spacy import util
from thinc.api import Config

from spacy_btl.errors import BtlError, in_words
from spacy_btl.expressible import Expressible
from spacy_btl.fit import choices, encoder, progress
from spacy_btl.fit.choices import Choice, Options
from spacy_btl.fit.conclusions import conclusions, trust
from spacy_btl.fit.corpus import Part, cautions, guess_language
from spacy_btl.fit.encoder import Facts
from spacy_btl.fit.networks import RECIPE
from spacy_btl.fit.package import install_command
from spacy_btl.fit.progress import Clock, work_of
from spacy_btl.fit.steps import Steps

ROOT = Path(__file__).parent.parent.parent


def test_the_recipe_is_the_config_of_the_project(tiny_bert):
    """Filled in, the two are equal, but for what shows a bar and what chooses the best network."""

    def filled(path: Path) -> Config:
        overrides = {
            "paths.encoder": str(tiny_bert),
            "components.transformer.model.window": 64,
            "components.transformer.model.overlap": 8,
        }
        config = util.load_config(path, overrides=overrides)
        config = util.load_model_from_config(config, auto_fill=True).config
        del config["training"]["logger"], config["training"]["score_weights"]
        return config

    assert filled(RECIPE) == filled(ROOT / "configs" / "minilm.cfg")


@pytest.mark.parametrize(
    ("effort", "words", "steps"),
    [
        ("standard", 13_000, 300),  # at least
        ("standard", 65_000, 520),  # 12 passes of 1,500 words
        ("standard", 900_000, 2_000),  # at most
        ("small", 65_000, 260),
        ("large", 65_000, 1_040),
    ],
)
def test_steps_are_passes_over_the_words_within_bounds(effort, words, steps):
    choice = choices.choose_steps(Options(effort=effort), words, 100)
    assert choice.value == steps
    assert f"{words:,} words" in choice.reason
    given = choices.choose_steps(Options(effort=effort, max_steps=7), words, 100)
    assert given == Choice(7, "as given")


def test_the_page_has_the_recipes():
    page = (ROOT / "docs" / "fit.md").read_text("utf-8")
    for effort, recipe in choices.RECIPES.items():
        steps = f"{recipe.least:,} to {recipe.most:,}"
        assert f"| `{effort}` | {recipe.networks} | {recipe.passes} | {steps} |" in page


def test_choices_by_the_corpus():
    assert choices.choose_min_mentions(None, [2, 5, 90]).value == 5
    assert "1 of 3 types" in choices.choose_min_mentions(None, [2, 5, 90]).reason
    assert choices.choose_min_mentions(None, [2, 4]).value == 1  # else nothing would be left
    assert choices.choose_min_mentions(2, [2, 90]) == Choice(2, "as given")
    many, few = Expressible(100, 80, 99), Expressible(100, 98, 99)
    assert choices.choose_overlapping(None, many).value is True
    assert choices.choose_overlapping(None, few).value is False
    reason = "spans_key adds 19 of 100 mentions (19.0%), and is taken from 2% on"
    assert choices.choose_overlapping(None, many).reason == reason
    demo, below = Expressible(5467, 5334, 5451), Expressible(10_000, 9000, 9199)
    reason = "spans_key adds 117 of 5,467 mentions (2.1%), and is taken from 2% on"
    assert choices.choose_overlapping(None, demo) == Choice(True, reason)
    assert "(1.9%)" in choices.choose_overlapping(None, below).reason
    assert choices.choose_overlapping(False, many).value is False
    assert choices.choose_neighbors(10_000).value == 17
    assert choices.choose_neighbors(16).value == 8
    assert choices.choose_name(None, Path("/data/Ward A (2).jsonl")).value == "ward_a_2"
    assert choices.choose_name(None, Path("/data/2020")).value == "btl_2020"


def test_choices_by_the_encoder_and_the_processor(monkeypatch):
    small, base = Facts(384, 512), Facts(768, 0)
    assert choices.choose_learning_rate(small).value == 3e-4
    assert choices.choose_learning_rate(base).value == 5e-5
    assert choices.choose_window(small).value == choices.choose_window(base).value == 256
    assert choices.choose_window(Facts(32, 64)).value == 64
    with pytest.raises(BtlError, match="too few to read notes by"):
        choices.choose_window(Facts(32, 8))
    assert "give one for that language" in choices.describe_encoder(None, "de").reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choices.choose_gpu(None) == Choice(-1, "torch finds no GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    monkeypatch.setattr(choices, "has_cupy_gpu", True)
    assert choices.choose_gpu(None) == Choice(0, "a GPU")
    assert choices.choose_gpu(-1) == Choice(-1, "as given")
    monkeypatch.setattr(choices, "has_cupy_gpu", False)
    assert choices.choose_gpu(None).value == -1
    assert "no CuPy" in choices.choose_gpu(None).reason


def test_without_the_package_of_minilm_an_encoder_has_to_be_given(monkeypatch):
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_package")
    with pytest.raises(BtlError, match=r"There is no encoder: .* with --encoder"):
        encoder.packaged_minilm()


@pytest.mark.parametrize(
    ("text", "lang"),
    [
        ("The patient was seen in the ward and has had a fever for three days.", "en"),
        ("Der Patient wurde auf der Station gesehen und hat seit drei Tagen Fieber.", "de"),
        ("Le patient a été vu dans le service et il a de la fièvre depuis trois jours.", "fr"),
        ("El paciente fue visto en la sala y tiene fiebre desde hace tres días.", "es"),
        ("Patienten sågs på avdelningen och har haft feber i tre dagar.", "sv"),
        ("WBC 12 CRP 84 Hb 9", "en"),
        ("", "en"),
    ],
)
def test_the_language_is_told_by_stop_words(text, lang):
    code, reason = guess_language([text])
    assert code == lang
    assert "stop words" in reason


def part(documents: int, **types: int) -> Part:
    return Part(documents, 100, types)


def test_cautions_name_the_types_that_a_part_lacks():
    parts = {
        "train": part(60, A=50, B=4),
        "dev": part(10, A=9, C=2),
        "test": part(20, A=20, C=1),
    }
    found = cautions(parts)
    assert len(found) == 3
    assert "cannot be learned, since no train document has them: C" in found[0]
    assert "calibrate their confidence by, since no dev document has them: B" in found[1]
    assert "cannot be measured, since no test document has them: B" in found[2]
    assert "13 documents are too few" in cautions({**parts, "train": part(3), "test": part(0)})[0]


def scores(f: float, low: float) -> dict:
    return {"value": f, "low": low, "high": min(1.0, f + 0.1)}


def row(support: int, f: float, low: float) -> dict:
    return {"support": support, "annotated": support, "ents_f": scores(f, low)}


METRICS = {
    "overlapping": False,
    "scores": {
        "ents_f": scores(0.6, 0.5),
        "ents_p": scores(0.7, 0.6),
        "ents_r": scores(0.5, 0.4),
        "ents_macro_f": scores(0.45, 0.4),
        "tag_uar": scores(0.55, 0.5),
        "ents_ece": scores(0.03, 0.01),
    },
    "types": {
        "Few": row(4, 0.2, 0.0),
        "FewButGood": row(9, 0.9, 0.6),
        "Poor": row(40, 0.4, 0.3),
        "Good": row(90, 0.8, 0.7),
        "Unknown": row(3, 0.0, 0.0),
    },
}
FILES = {
    "report": "r.html",
    "card": "README.md",
    "install": "pip install x",
    "package": "en_x",
    "pipeline": "/a b/pipeline",
}


def test_a_type_is_reliable_by_the_low_end_of_its_interval():
    found = trust(METRICS, ["Few", "FewButGood", "Poor", "Good", "Unseen"])
    assert found.reliable == ["FewButGood", "Good"]
    assert found.poor == ["Poor"]
    assert found.unmeasured == ["Unseen", "Few"]  # not the one that was never learned


def test_mentions_that_overlap_are_judged_by_their_own_scores():
    rows = {
        label: {**one, "spans_btl_f": scores(0.9, 0.8), "ents_f": scores(0.1, 0.0)}
        for label, one in METRICS["types"].items()
    }
    every = {name.replace("ents", "spans_btl"): one for name, one in METRICS["scores"].items()}
    metrics = {"overlapping": True, "scores": {**every, "ents_f": scores(0.1, 0)}, "types": rows}
    assert trust(metrics, ["Poor"]).reliable == ["Poor"]
    parts = {"train": part(60, Poor=9), "dev": part(10), "test": part(20)}
    lines = conclusions(metrics, parts, dropped={}, effort="small", files=FILES)
    assert lines[1].startswith("Mentions, exact, with 95% intervals: F1 60.0% (50.0")


def test_the_conclusions_say_what_to_do_next():
    types = {"Few": 12, "FewButGood": 30, "Poor": 300, "Good": 700}
    parts = {"train": part(60, **types), "dev": part(10, Few=1), "test": part(20, Few=4)}

    def text(effort: str, dropped: dict[str, int], metrics: dict = METRICS) -> str:
        lines = conclusions(metrics, parts, dropped=dropped, effort=effort, files=FILES)
        assert len(lines) <= 11
        return "\n".join(lines)

    first = text("standard", {"Rare": 2})
    assert "Learned 4 types from 60 documents with 1,042 mentions. 10 more" in first
    assert "F1 60.0% (50.0 to 70.0), precision 70.0% (60.0 to 80.0)" in first
    assert "To rely on: FewButGood, Good." in first
    assert "Poor (F1 not surely above 50%); Few (fewer than 10 mentions to measure by)" in first
    assert "Not learned, with too few mentions: Rare (2)." in first
    load = """nlp = spacy.load("en_x")  # without installing it: spacy.load('/a b/pipeline')"""
    assert first.endswith(f"Install it, in any environment: pip install x\nLoad it: {load}")
    assert "annotate more notes with Rare (2), Few (17)" in first
    enough = {**METRICS, "types": {**METRICS["types"], "Few": row(40, 0.9, 0.8)}}
    assert "Next: train longer (--effort large), and see whether Poor" in text(
        "standard", {}, enough
    )
    assert "train longer" not in text("large", {}, enough)
    good = {**enough, "types": {label: row(40, 0.9, 0.8) for label in METRICS["types"]}}
    assert "Next: choose an operating point" in text("large", {}, good)
    nothing = {
        **METRICS,
        "scores": {"ents_f": {"value": 0.0, "low": None, "high": None}},
        "types": {},
    }
    found = text("small", {}, nothing)
    assert "To rely on: none of the types yet." in found
    assert "Confidence: not measured" in found


def test_the_clock_measures_the_steps_and_not_the_start(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    words = {"train": 9_000, "dev": 3_000, "test": 6_000}
    work = work_of({"train btl": 10, "train standard": 10}, words, 1_500)
    assert list(work) == [
        *("train btl", "train standard", "average"),
        *("calibrate", "evaluate", "card", "package"),
    ]
    assert work["calibrate"] == 4_000
    assert "average" not in work_of({"train btl": 10}, words, 1_500)
    told: list[tuple[float, float | None]] = []
    clock = Clock(work, 1_500, 20_000, lambda done, left: told.append((done, left)))
    clock.finish("train btl")  # in an earlier run
    assert told[-1] == (pytest.approx(15_000 / clock.total), None)
    now[0] = 100.0  # loading
    clock.advance()
    assert told[-1][1] is None
    now[0] = 103.0
    clock.advance()
    assert told[-1][1] == pytest.approx(3 * (clock.total - 18_000) / 1_500)
    assert clock.seconds(clock.least) == pytest.approx(40)
    for name in list(work)[1:]:
        clock.finish(name)
    assert told[-1][0] == pytest.approx(1)
    assert told[-1][1] == pytest.approx(0)
    done = [share for share, _ in told]
    assert done == sorted(done)


def test_the_install_line_names_the_clone_beside_a_distribution_that_pip_did_not_record(
    tmp_path, monkeypatch
):
    """In a clone, its own egg-info comes before what pip installed."""
    clone, egg, site = (tmp_path / name for name in ("my clone", "egg", "site"))
    for folder, files in (
        (clone, {"constraints.txt": ""}),
        (egg / "spacy_btl.egg-info", {"PKG-INFO": "Name: spacy-btl\nVersion: 0.1.0\n"}),
        (
            site / "spacy_btl-0.1.0.dist-info",
            {
                "METADATA": "Name: spacy-btl\nVersion: 0.1.0\n",
                "direct_url.json": json.dumps({"url": clone.as_uri()}),
            },
        ),
    ):
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    monkeypatch.setattr(sys, "path", [str(egg), str(site)])
    words = ["pip", "install", "-c", clone / "constraints.txt", clone, Path("a b.whl")]
    assert shlex.split(install_command(Path("a b.whl"))) == list(map(str, words))
    monkeypatch.setattr(sys, "path", [str(egg)])
    assert install_command(Path("x.whl")) == "pip install x.whl"


def test_times_in_words():
    assert in_words(0.2) == "1 second"
    assert in_words(40) == "40 seconds"
    assert in_words(720) == "12 minutes"
    assert in_words(12_600) == "3.5 hours"


def test_a_damaged_record_is_no_finished_step(tmp_path):
    begun: list[tuple[str, str]] = []
    output = tmp_path / "out.txt"
    steps = Steps(tmp_path / "steps", tmp_path, lambda name, why: begun.append((name, why)))

    def run(**made_of: int) -> object:
        return steps.run("a step", made_of, [output], lambda: output.write_text("x"))

    assert run(n=1) == run(n=1) == 1
    assert begun == [("a step", "")]
    record = tmp_path / "steps" / "a-step.json"
    for damage in ("{", "[]", json.dumps({"made_of": {}})):
        record.write_text(damage)
        run(n=1)
        assert begun.pop() == ("a step", "")
    output.write_text("y")
    run(n=1)
    assert begun.pop() == ("a step", f"{output} was changed")
    run(m=1)
    assert begun.pop() == ("a step", "changed: m, n")
