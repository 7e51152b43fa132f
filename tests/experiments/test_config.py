"""What an experiment file may hold, and which cells it stands for."""

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from spacy_btl.errors import FileError
from spacy_btl.experiments.config import read_experiment
from spacy_btl.experiments.plan import plan


def test_cells_are_arms_by_folds_by_seeds(experiment_file, tmp_path):
    file = experiment_file(seeds=[0, 1])
    cells = plan(read_experiment(file), tmp_path / "cells")
    assert [(cell.arm, cell.fold, cell.seed) for cell in cells] == [
        (arm, fold, seed) for seed in (0, 1) for fold in (0, 1) for arm in ("ATL", "BTL")
    ]
    assert len({cell.key for cell in cells}) == len(cells)


def test_test_parts_cover_every_document_once(experiment_file, tmp_path):
    cells = plan(read_experiment(experiment_file()), tmp_path / "cells")
    tests = {cell.fold: note_ids(cell.documents["test"]) for cell in cells}
    assert sorted(tests[0] + tests[1]) == sorted(set(tests[0] + tests[1]))
    assert len(tests[0] + tests[1]) == 8
    for cell in cells:
        parts = [note_ids(path) for path in cell.documents.values()]
        assert len(set().union(*parts)) == sum(map(len, parts))


def test_smaller_training_sets_lie_in_larger_ones(experiment_file, tmp_path):
    arms = {
        str(share): {"decodings": ["arg-max"], "train_share": share} for share in (0.25, 0.5, 1.0)
    }
    file = experiment_file(arms=arms, baseline=["0.25", "arg-max"])
    cells = [cell for cell in plan(read_experiment(file), tmp_path / "cells") if cell.fold == 0]
    quarter, half, whole = (set(note_ids(cell.documents["train"])) for cell in cells)
    assert quarter < half < whole


def test_an_averaged_arm_has_a_config_of_each_network(experiment_file, tmp_path):
    arm = {
        "overrides": {"training.dropout": 0.2},
        "average": [{}, {"training.seed": 1, "training.dropout": 0.3}],
        "decodings": ["arg-max"],
    }
    file = experiment_file(arms={"both": arm}, baseline=["both", "arg-max"], seeds=[4])
    for cell in plan(read_experiment(file), tmp_path / "cells"):
        first, second = (n.config.interpolate()["training"] for n in cell.networks)
        assert (first["seed"], first["dropout"]) == (4, 0.2)
        assert (second["seed"], second["dropout"]) == (1, 0.3)


def test_a_corpus_can_have_settings_of_its_own(experiment_file, corpus_path, tmp_path):
    corpora = {"sentences": str(corpus_path), "others": str(corpus_path)}
    file = experiment_file(corpora=corpora, of_corpora={"others": {"training.max_steps": 5}})
    steps = {
        (cell.corpus, cell.networks[0].config["training"]["max_steps"])
        for cell in plan(read_experiment(file), tmp_path / "cells")
    }
    assert steps == {("sentences", 3), ("others", 5)}


def test_a_key_is_the_hash_of_what_makes_a_cell(experiment_file, tmp_path, monkeypatch):
    def keys(**changes):
        cells = plan(read_experiment(experiment_file(**changes)), tmp_path / "cells")
        return {(cell.arm, cell.fold): cell.key for cell in cells}

    before = keys()
    assert keys(title="Another title") == before
    assert keys(decodings={"arg-max": {}, "kNN": {"fit_on": "dev"}}) == before
    for changes in (
        {"overrides": {**srsly.read_yaml(experiment_file())["overrides"], "training.dropout": 0.2}},
        {"seeds": [7]},
        {"split_seed": 1},
        {"threads": 2},
        {"precision": "float16"},
    ):
        assert not set(keys(**changes).values()) & set(before.values())
    monkeypatch.setattr("spacy_btl.about.__version__", "9.9.9")
    assert keys() == before
    monkeypatch.setattr("spacy_btl.experiments.plan.TRAINING_VERSION", 9)
    assert not set(keys().values()) & set(before.values())


def test_a_key_holds_the_precision_that_the_processor_gives(experiment_file, tmp_path, monkeypatch):
    def cell(has_bfloat16, gpu=-1, **changes):
        monkeypatch.setattr("spacy_btl.experiments.plan.cpu_has_bfloat16", lambda: has_bfloat16)
        experiment = read_experiment(experiment_file(**changes))
        return plan(experiment, tmp_path / "cells", gpu=gpu)[0]

    found = [cell(True), cell(False), cell(True, gpu=0)]
    assert [each.precision for each in found] == ["bfloat16", "float32", "float16"]
    assert len({each.key for each in found}) == len({each.networks[0].key for each in found}) == 3
    stated = [cell(has, precision="float32") for has in (True, False)]
    assert {each.key for each in stated} == {found[1].key}
    for each, mixed in ((found[0], True), (stated[0], False)):
        model = each.networks[0].config["components"]["transformer"]["model"]
        assert model["mixed_precision"] is mixed
    plain = srsly.read_yaml(experiment_file())["overrides"]
    plain |= {"components.transformer.model.mixed_precision": False}
    assert cell(True, overrides=plain).key == found[1].key


def test_a_key_does_not_depend_on_how_a_config_says_it(experiment_file, tmp_path):
    """A variable or its value; and the documents have no part in what the file says."""
    spec = srsly.read_yaml(experiment_file())
    before = plan(read_experiment(experiment_file()), tmp_path / "cells")
    spec["overrides"]["training.optimizer.learn_rate.total_steps"] = 3
    file = experiment_file(overrides=spec["overrides"])
    assert [cell.key for cell in plan(read_experiment(file), tmp_path / "cells")] == [
        cell.key for cell in before
    ]
    recorded = plan(read_experiment(file), tmp_path / "none", documents=False)
    assert [cell.training for cell in recorded] == [cell.training for cell in before]
    assert {cell.material for cell in recorded} == {""}
    assert not (tmp_path / "none").exists()


def test_folds_that_are_there_are_not_written_again(experiment_file, tmp_path):
    arms = {"half": {"decodings": ["arg-max"], "train_share": 0.5}}
    experiment = read_experiment(experiment_file(arms=arms, baseline=["half", "arg-max"]))
    plan(experiment, tmp_path / "cells")
    made = {path: path.stat().st_ino for path in tmp_path.glob("cells/**/*.spacy")}
    assert any("train-0.5" in path.name for path in made)
    plan(experiment, tmp_path / "cells")
    assert {path: path.stat().st_ino for path in made} == made


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": "red"}, "colour"),
        ({"folds": 1}, "folds"),
        ({"baseline": ["ATL", "magic"]}, "ATL, magic"),
        ({"decodings": {"arg-max": {"calibrator": {"n_neighbours": 9}}}}, "n_neighbours"),
        (
            {"decodings": {"arg-max": {"calibrator": {"knn_weight": 2}}}},
            "'arg-max' cannot be made.*knn_weight",
        ),
        ({"decodings": {"arg-max": {"calibrator": {"tau": "a"}}}}, "'arg-max' cannot be made.*tau"),
        ({"arms": {"ATL": {"decodings": ["magic"]}}}, "magic"),
        ({"arms": {"ATL": {"decodings": ["arg-max"], "folds": [5]}}}, "5"),
        ({"arms": {"ATL": {"decodings": ["arg-max"], "average": []}}}, "average"),
        (
            {
                "decodings": {"arg-max": {}, "cross-fitted": {"fit_on": "crossfit"}},
                "arms": {"ATL": {"decodings": ["arg-max", "cross-fitted"], "average": [{}, {}]}},
            },
            "'ATL' averages networks, so 'cross-fitted'",
        ),
        (
            {"arms": {"ATL": {"decodings": ["arg-max"], "average": [{}], "ensemble": [{}, {}]}}},
            "'ATL' cannot be both",
        ),
        ({"arms": {"ATL": {"decodings": ["arg-max"], "flat": True}}}, "'ATL' is flat"),
    ],
)
def test_a_flawed_file_is_refused(experiment_file, changes, message):
    with pytest.raises(FileError, match=message):
        read_experiment(experiment_file(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": {"training.max_steps": 0}}, "max_steps"),
        ({"overrides": {"training.max_steps": None}}, "max_steps"),
        ({"overrides": {"paths.encoder": "${paths.none}"}}, "cannot be used as the config"),
        ({"overrides": {"nlp.pipeline": ["ner"]}}, "has no transformer"),
        ({"config": "none.cfg"}, r"none\.cfg"),
        (
            {"arms": {name: {"decodings": ["arg-max"]} for name in ("ATL", "again")}},
            "same training",
        ),
        (
            {
                "overrides": {"components.ner": {"factory": "ner"}},
                "arms": {"stock": {"decodings": ["arg-max", "kNN"]}},
                "baseline": ["stock", "arg-max"],
            },
            "'kNN' cannot decode 'stock'",
        ),
        (
            {
                "arms": {
                    "mixed": {
                        "average": [{}, {"components.ner": {"factory": "ner"}}],
                        "decodings": ["arg-max"],
                    }
                },
                "baseline": ["mixed", "arg-max"],
            },
            "'mixed' averages a btl_ner with another pipe",
        ),
        (
            {
                "overrides": {"components.ner": {"factory": "ner"}},
                "arms": {"stock": {"ensemble": [{}, {"training.seed": 1}], "decodings": ["raw"]}},
                "decodings": {"raw": {}},
                "baseline": ["stock", "raw"],
            },
            "'stock' cannot be an ensemble",
        ),
    ],
)
def test_a_plan_that_cannot_be_run_is_refused(experiment_file, tmp_path, changes, message):
    with pytest.raises(FileError, match=message):
        plan(read_experiment(experiment_file(**changes)), tmp_path / "cells")


def test_no_yaml_is_refused(tmp_path):
    path = tmp_path / "experiment.yml"
    for content in ("a: [", "just text", ""):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(FileError, match=r"experiment\.yml"):
            read_experiment(path)
    with pytest.raises(FileError, match=r"none\.yml"):
        read_experiment(tmp_path / "none.yml")


def note_ids(path):
    docs = DocBin(store_user_data=True).from_disk(path).get_docs(spacy.blank("en").vocab)
    return [doc.user_data["note_id"] for doc in docs]
