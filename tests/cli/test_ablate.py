"""The whole command on a tiny BERT: its results, and what a kill costs."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import spacy
import srsly
from spacy.training import Corpus
from spacy.vocab import Vocab
from typer.testing import CliRunner

from spacy_btl.cli import btl
from spacy_btl.corpora.docbin import read_docs, write_docs
from spacy_btl.errors import PipelineError
from spacy_btl.evaluation.predictions import predict
from spacy_btl.experiments import cells, runner
from spacy_btl.experiments.archive import read_cells, read_summary, write_archive
from spacy_btl.experiments.config import Decoding, read_experiment
from spacy_btl.experiments.finished import FinishedCells
from spacy_btl.experiments.networks import PIPELINE, network_folder, train_network
from spacy_btl.experiments.plan import counts_name, plan
from spacy_btl.experiments.result_files import read_results, write_results
from spacy_btl.experiments.results import summarize
from spacy_btl.metrics.counts import document_counts, load_counts, save_counts, widened
from spacy_btl.metrics.significance import holm
from spacy_btl.training.average import average
from spacy_btl.training.calibrate import calibrate
from spacy_btl.training.crossfit import CrossFit
from spacy_btl.training.ensemble import ensemble
from tests.experiments.conftest import experiment_file

pytestmark = pytest.mark.slow  # almost all are about the trainings of one experiment

RUNNER = CliRunner()
STOCK_NER = {
    "overrides": {
        "components.ner": {
            "factory": "ner",
            "model": {
                "@architectures": "spacy.TransitionBasedParser.v2",
                "state_type": "ner",
                "extra_state_tokens": False,
                "hidden_width": 16,
                "maxout_pieces": 2,
                "use_upper": False,
                "nO": None,
                "tok2vec": {
                    "@architectures": "spacy-transformers.TransformerListener.v1",
                    "grad_factor": 1.0,
                    "pooling": {"@layers": "reduce_mean.v1"},
                },
            },
        }
    },
    "decodings": ["arg-max"],
}


def arguments(file, folder):
    return [
        *("ablate", str(file), "--cache", str(folder / "cells")),
        *("--output", str(folder / "results"), "--workers", "2"),
    ]


def kept(folder):
    return FinishedCells(folder / "cells", folder / "results" / "experiment")


def without_cells(archive):
    """As of an experiment whose counts were not kept."""
    write_archive(archive, read_summary(archive), {})
    return archive


def counts_of(path):
    return load_counts(path.read_bytes(), path.name)


def birth(cache):
    """When each finished cell was made: a cell that is trained again has another number."""
    return {
        folder.name: (folder / "cost.json").stat().st_ino
        for folder in cache.glob("*")
        if (folder / "cost.json").exists() and not folder.name.endswith(".part")
    }


@pytest.fixture(scope="module")
def finished(tiny_bert, corpus_path, tmp_path_factory):
    """An experiment that was killed at several moments and then left to finish."""
    folder = tmp_path_factory.mktemp("experiment")
    file = experiment_file.__wrapped__(tiny_bert, corpus_path, folder)()
    survivors = {}
    for seconds_after_a_cell in (0.5, 3.0):
        process = subprocess.Popen(
            [sys.executable, "-m", "spacy", "btl", *arguments(file, folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        before = len(survivors)
        deadline = time.monotonic() + 300
        while len(birth(folder / "cells")) <= before and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(seconds_after_a_cell)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        now = birth(folder / "cells")
        assert survivors.items() <= now.items()
        survivors = now
    result = RUNNER.invoke(btl, arguments(file, folder))
    assert result.exit_code == 0, result.output
    return file, folder, survivors, result.output


def test_a_kill_loses_no_finished_cell_and_repeats_none(finished):
    file, folder, survivors, _ = finished
    assert survivors
    assert survivors.items() <= birth(folder / "cells").items()
    assert set(birth(folder / "cells")) == {
        cell.key for cell in plan(read_experiment(file), folder / "cells")
    }
    assert not list((folder / "cells").glob("*.part"))
    made = birth(folder / "cells")
    assert RUNNER.invoke(btl, arguments(file, folder)).exit_code == 0
    assert birth(folder / "cells") == made


def test_results_hold_every_arm_and_decoding_with_intervals_costs_and_tests(finished):
    _, folder, _, _ = finished
    summary = read_results(folder / "results" / "experiment")
    assert not summary["missing"]
    assert [(row["arm"], row["decoding"]) for row in summary["results"]] == [
        ("ATL", "arg-max"),
        ("ATL", "kNN"),
        ("BTL", "arg-max"),
    ]
    for row in summary["results"]:
        assert row["folds"] == [0, 1]
        assert row["documents"] == 8
        for interval in row["scores"].values():
            assert interval["low"] <= interval["value"] <= interval["high"]
        assert row["per_fold"].keys() == row["scores"].keys()
        assert {len(values) for values in row["per_fold"].values()} == {2}
        assert row["cost"]["optimizer_steps"] == row["cost"]["encoder_passes"] == 3
        assert row["cost"]["seconds"] > 0
        assert row["cost"]["peak_memory_mb"] > 50
        tested = row.get("versus_baseline", {})
        assert bool(tested) == (row is not summary["results"][0])
    tests = [test for row in summary["results"][1:] for test in row["versus_baseline"].values()]
    expected = holm([test["p"] for test in tests])
    assert [test["p_holm"] for test in tests] == pytest.approx(expected, abs=1e-4)


def test_screened_arms_are_corrected_by_themselves(finished, tmp_path):
    file, folder, _, _ = finished
    content = srsly.read_yaml(file)
    content["arms"]["BTL"]["folds"] = [0]
    srsly.write_yaml(tmp_path / "screened.yml", content)
    experiment = read_experiment(tmp_path / "screened.yml")
    planned = plan(experiment, folder / "cells")
    _, knn, btl = summarize(experiment, planned, kept(folder))["results"]
    for row in (knn, btl):
        tests = row["versus_baseline"].values()
        expected = holm([test["p"] for test in tests])
        assert [test["p_holm"] for test in tests] == pytest.approx(expected, abs=1e-4)


def test_figures_per_fold_are_those_of_the_folds_by_themselves(finished, tmp_path):
    file, folder, _, _ = finished
    content = srsly.read_yaml(file)
    expected = []
    for fold in (0, 1):
        content["arms"]["BTL"]["folds"] = [fold]
        srsly.write_yaml(tmp_path / "one.yml", content)
        experiment = read_experiment(tmp_path / "one.yml")
        found = summarize(experiment, plan(experiment, folder / "cells"), kept(folder))
        expected.append(found["results"][-1]["scores"])
    both = read_results(folder / "results" / "experiment")["results"][-1]["per_fold"]
    for name, values in both.items():
        alone = [metrics[name]["value"] if name in metrics else None for metrics in expected]
        assert values == pytest.approx(alone), name


def test_patients_are_divided_and_drawn_whole(finished, corpus_path, tmp_path):
    docs = read_docs(corpus_path, Vocab())
    for number, doc in enumerate(docs):
        doc.user_data["patient_id"] = f"p{number // 2}"  # each has entities
    write_docs(tmp_path / "patients.spacy", docs)
    content = srsly.read_yaml(finished[0])
    content |= {"corpora": {"patients": str(tmp_path / "patients.spacy")}}
    content |= {"arms": {"ATL": content["arms"]["ATL"] | {"decodings": ["arg-max"]}}}
    srsly.write_yaml(tmp_path / "experiment.yml", content)
    result = RUNNER.invoke(btl, arguments(tmp_path / "experiment.yml", tmp_path))
    assert result.exit_code == 0, result.output
    (row,) = read_results(tmp_path / "results" / "experiment")["results"]
    assert (row["documents"], row["patients"]) == (8, 4)
    for fold in (tmp_path / "cells" / "corpora").glob("*/fold-*"):
        parts = [read_docs(path, Vocab()) for path in sorted(fold.glob("*.spacy"))]
        owners = [{doc.user_data["patient_id"] for doc in part} for part in parts]
        assert sum(map(len, owners)) == 4


def test_predictions_are_those_of_the_trained_pipeline(finished, tiny_bert):
    """Training the same config by hand, and decoding with the whole pipeline."""
    file, folder, _, _ = finished
    cell = next(c for c in plan(read_experiment(file), folder / "cells") if c.arm == "ATL")
    cell.networks[0].config.to_disk(folder / "by-hand.cfg")
    command = ["-m", "spacy", "train", str(folder / "by-hand.cfg")]
    paths = [f"--paths.{part}={cell.documents[part]}" for part in ("train", "dev")]
    subprocess.run(
        [sys.executable, *command, *paths, "--output", str(folder / "by-hand")],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    nlp = spacy.load(folder / "by-hand" / "model-last")
    by_hand = document_counts(predict(nlp, Corpus(cell.documents["test"])(nlp)))
    files = (folder / "cells" / cell.key).glob("counts-*.npz")
    kept = [counts_of(path)[0] for path in files]
    errors = [abs(each["token_losses"] - by_hand["token_losses"]).max() for each in kept]
    assert min(errors) < 1e-3  # arg-max
    assert max(errors) > 1e-2  # kNN
    closest = kept[errors.index(min(errors))]
    assert (closest["tokens"] == by_hand["tokens"]).all()
    assert (closest["entities"] == by_hand["entities"]).all()


def test_a_cell_without_its_logits_is_summed_up_and_trained_again_for_a_new_decoding(
    finished, tmp_path
):
    """As cells come from another machine: their counts and cost alone."""
    file, folder, _, _ = finished
    here = tmp_path / "cells"
    shutil.copytree(
        folder / "cells", here, ignore=shutil.ignore_patterns("*logits.spacy", "pipeline", "*.cfg")
    )
    experiment = read_experiment(file)
    planned = plan(experiment, here)
    made = birth(here)
    assert RUNNER.invoke(btl, arguments(file, tmp_path)).exit_code == 0
    assert birth(here) == made
    expected = read_results(folder / "results" / "experiment")
    assert read_results(tmp_path / "results" / "experiment") == expected

    cell = next(cell for cell in planned if cell.arm == "BTL")
    of_another_experiment = here / cell.key / "counts-other.npz"
    of_another_experiment.touch()
    more = {
        **cell.decodings,
        "transitions": Decoding(calibrator={"knn_weight": 0, "transition_weight": 0.2}),
    }
    cells.run_cell(replace(cell, decodings=more), here)
    assert {key for key in made if birth(here)[key] != made[key]} == {cell.key}
    assert len(list((here / cell.key).glob("counts-*.npz"))) == 3
    assert of_another_experiment.exists()
    assert not list(here.glob("*.part"))


def test_a_cross_fitted_decoding_is_that_of_the_calibrate_command(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "cells", tmp_path / "cells")
    planned = plan(read_experiment(file), tmp_path / "cells")
    cell = next(cell for cell in planned if cell.arm == "ATL")
    settings = {"knn_weight": 1, "n_neighbors": 3}
    decoding = Decoding(calibrator=settings, fit_on="crossfit")
    made = birth(tmp_path / "cells")
    cells.run_cell(replace(cell, decodings={"cross-fitted": decoding}), tmp_path / "cells")
    assert birth(tmp_path / "cells") == made
    found, _ = counts_of(tmp_path / "cells" / cell.key / counts_name(decoding))

    config = tmp_path / "by-hand.cfg"
    cell.networks[0].config.to_disk(config)
    trained = tmp_path / "by-hand"
    command = [sys.executable, "-m", "spacy", "train", str(config), "--output", str(trained)]
    paths = [f"--paths.{part}={cell.documents[part]}" for part in ("train", "dev")]
    subprocess.run([*command, *paths], check=True, capture_output=True)
    nlp = calibrate(
        str(trained / "model-last"),
        cell.documents["train"],
        tmp_path / "calibrated",
        settings=settings,
        crossfit=CrossFit(config, {}),
    )
    by_hand = document_counts(predict(nlp, Corpus(cell.documents["test"])(nlp)))
    assert abs(found["token_losses"] - by_hand["token_losses"]).max() < 1e-3
    others = (tmp_path / "cells" / cell.key).glob("counts-*.npz")
    kept = [counts_of(path)[0]["token_losses"] for path in others]
    assert sum(abs(each - by_hand["token_losses"]).max() < 1e-3 for each in kept) == 1


def test_an_averaged_arm_is_the_mean_of_its_networks(finished, tmp_path, monkeypatch):
    file, _, _, _ = finished
    spec = srsly.read_yaml(file)
    usual = spec["arms"]["ATL"]["overrides"]
    arm = {"average": [{}, usual], "decodings": ["arg-max"], "folds": [1]}
    spec |= {"arms": {"both": arm}, "baseline": ["both", "arg-max"]}
    srsly.write_yaml(tmp_path / "averaged.yml", spec)
    kept = []

    def average_and_keep(models, output):
        kept.extend(head(spacy.load(model)) for model in models)
        average(models, output)

    monkeypatch.setattr(cells, "average", average_and_keep)
    (cell,) = plan(read_experiment(tmp_path / "averaged.yml"), tmp_path / "cells")
    folder = cells.run_cell(cell, tmp_path / "cells")
    btl_head, usual_head = kept
    assert (btl_head != usual_head).any()
    found = head(spacy.load(folder / "pipeline", exclude=["transformer"]))
    assert found == pytest.approx((btl_head + usual_head) / 2)
    assert srsly.read_json(folder / "cost.json")["optimizer_steps"] == 6
    assert not list(folder.rglob("transformer"))


def test_an_ensemble_arm_says_the_mean_of_what_its_networks_say(finished, tmp_path, monkeypatch):
    file, _, _, _ = finished
    spec = srsly.read_yaml(file)
    usual = spec["arms"]["ATL"]["overrides"]
    arm = {"ensemble": [{}, usual], "decodings": ["arg-max"], "folds": [1]}
    spec |= {"arms": {"both": arm}, "baseline": ["both", "arg-max"]}
    srsly.write_yaml(tmp_path / "ensemble.yml", spec)
    kept = []

    def ensemble_and_keep(models, output):
        kept.extend(spacy.load(model) for model in models)
        ensemble(models, output)

    monkeypatch.setattr(cells, "ensemble", ensemble_and_keep)
    (cell,) = plan(read_experiment(tmp_path / "ensemble.yml"), tmp_path / "cells")
    folder = cells.run_cell(cell, tmp_path / "cells")
    vocab = spacy.blank("en").vocab
    for doc in read_docs(folder / "test-logits.spacy", vocab):
        each = [network(doc.text)._.token_logits for network in kept]
        assert (each[0] != each[1]).any()
        np.testing.assert_allclose(doc._.token_logits, np.mean(each, axis=0), atol=1e-5)
    spec["arms"]["both"] = {**arm, "average": arm["ensemble"], "ensemble": []}
    srsly.write_yaml(tmp_path / "average.yml", spec)
    (averaged,) = plan(read_experiment(tmp_path / "average.yml"), tmp_path / "cells")
    assert averaged.key != cell.key  # of the same networks, and another thing


def test_a_network_is_trained_once_for_the_arms_that_share_it(finished, tmp_path):
    file, _, _, _ = finished
    spec = srsly.read_yaml(file)
    usual = spec["arms"]["ATL"]["overrides"]
    for name, networks in {"ATL": [usual], "BTL": [{}], "both": [{}, usual]}.items():
        spec["arms"][name] = {"average": networks, "decodings": ["arg-max"], "folds": [1]}
    srsly.write_yaml(tmp_path / "shared.yml", spec)
    result = RUNNER.invoke(btl, arguments(tmp_path / "shared.yml", tmp_path))
    assert result.exit_code == 0, result.output
    planned = plan(read_experiment(tmp_path / "shared.yml"), tmp_path / "cells")
    seconds = [
        srsly.read_json(tmp_path / "cells" / c.key / "cost.json")["seconds"] for c in planned
    ]
    assert seconds[0] + seconds[1] == pytest.approx(seconds[2])
    assert not list((tmp_path / "cells" / "networks").iterdir())  # they are large


def test_an_arm_may_have_spacys_own_ner(finished, tmp_path):
    """Its entities count as spaCy's scorer counts them, beside those of a btl_ner."""
    file, _, _, _ = finished
    content = srsly.read_yaml(file)
    enough = {"training.max_steps": 30, "training.optimizer.learn_rate": 0.01}
    content["overrides"] |= enough
    arms = {"stock": STOCK_NER, "BTL": content["arms"]["BTL"]}
    content["arms"] = {name: {**arm, "folds": [0]} for name, arm in arms.items()}
    content["baseline"] = ["stock", "arg-max"]
    srsly.write_yaml(tmp_path / "experiment.yml", content)
    planned = plan(read_experiment(tmp_path / "experiment.yml"), tmp_path / "cells")
    cell = planned[0]
    train_network(cell.networks[0], tmp_path / "cells")
    nlp = spacy.load(network_folder(cell.networks[0], tmp_path / "cells") / PIPELINE)
    expected = nlp.evaluate(Corpus(cell.documents["test"])(nlp))["ents_f"]
    assert expected > 0
    result = RUNNER.invoke(btl, arguments(tmp_path / "experiment.yml", tmp_path))
    assert result.exit_code == 0, result.output
    stock, ours = read_results(tmp_path / "results" / "experiment")["results"]
    assert stock["per_fold"]["ents_f"][0] == pytest.approx(expected, abs=1e-4)
    assert "tag_ece" not in stock["scores"]
    assert "tag_ece" in ours["scores"]
    assert set(ours["versus_baseline"]) == {"tag_uar", "tag_macro_f", "ents_f"}


def head(nlp):
    (layer,) = (layer for layer in nlp.get_pipe("ner").model.walk() if layer.name == "linear")
    return layer.get_param("W")


def test_tables_hold_a_row_per_arm_and_decoding(finished):
    _, folder, _, output = finished
    markdown = (folder / "results" / "experiment.md").read_text("utf-8").splitlines()
    assert len(markdown) == 2 + 3
    page = (folder / "results" / "experiment.html").read_text("utf-8")
    assert page.count("<tr>") == 1 + 3
    assert "experiment.md" in output


def test_the_summary_names_what_is_missing(finished, tmp_path):
    file, folder, _, _ = finished
    spec = srsly.read_yaml(file)
    spec["seeds"] = [0, 1]
    srsly.write_yaml(tmp_path / "more.yml", spec)
    command = arguments(tmp_path / "more.yml", folder)
    result = RUNNER.invoke(btl, [*command, "--summary-only"])
    assert result.exit_code == 0, result.output
    summary = read_results(folder / "results" / "more")
    assert len(summary["missing"]) == 4
    assert all(row["seeds"] == [0] for row in summary["results"])
    assert "4 of 8 cells are not finished" in result.output
    assert result.output.count("seed 1") == 4


def test_where_no_cell_is_done_earlier_results_stay(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    archive = without_cells(tmp_path / "results" / "experiment.tar.xz")
    before = archive.read_bytes()
    result = RUNNER.invoke(btl, [*arguments(file, tmp_path), "--summary-only"])
    assert result.exit_code == 1
    assert "No cell of" in " ".join(result.output.split())
    assert archive.read_bytes() == before


def test_an_archive_of_the_counts_is_all_that_a_summary_needs(finished, tmp_path):
    """No cache, no corpus and no encoder: as in a clone."""
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    spec = srsly.read_yaml(file) | {"corpora": {"sentences": str(tmp_path / "gone.spacy")}}
    spec["overrides"] |= {"paths.encoder": srsly.read_yaml(file)["overrides"]["paths.encoder"]}
    srsly.write_yaml(tmp_path / "experiment.yml", spec)
    files = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    assert "experiment.tar.xz" in files
    (tmp_path / "results" / "experiment.md").unlink()
    command = [*arguments(tmp_path / "experiment.yml", tmp_path), "--summary-only"]
    result = RUNNER.invoke(btl, command)
    assert result.exit_code == 0, result.output
    assert {p.name: p.read_bytes() for p in (tmp_path / "results").iterdir()} == files
    assert not list((tmp_path / "cells").glob("*"))


def test_a_cell_that_is_archived_is_not_trained_again(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    result = RUNNER.invoke(btl, arguments(file, tmp_path))
    assert result.exit_code == 0, result.output
    assert [path.name for path in (tmp_path / "cells").iterdir()] == ["corpora"]


def test_cells_of_several_experiments_are_archived_once(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    spec = srsly.read_yaml(file)
    spec["arms"].pop("BTL")
    spec["arms"]["ATL"]["folds"] = [1]
    srsly.write_yaml(tmp_path / "part.yml", spec)
    command = [*arguments(tmp_path / "part.yml", tmp_path), "--summary-only"]
    assert RUNNER.invoke(btl, command).exit_code == 0
    assert len(read_results(tmp_path / "results" / "part")["counts"]) == 2
    assert not read_cells(tmp_path / "results" / "part.tar.xz")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"precision": "float16"}, "here it is in float16 (threads: 1)"),
        ({"threads": 2}, "(threads: 1), here it is in"),
        ({"dev": 0.5}, "Its configs, arms, folds or seeds were others"),
        ({"corpora": {"sentences": "changed"}}, "Its documents or encoders were others"),
    ],
)
def test_results_of_other_trainings_are_not_replaced(
    finished, corpus_path, tmp_path, monkeypatch, changes, said
):
    """It is told before anything is trained; and `--force` replaces them."""
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    docs = read_docs(corpus_path, Vocab())
    docs[0].ents = docs[0].ents[:-1]
    write_docs(tmp_path / "changed.spacy", docs)
    if "corpora" in changes:
        changes = {"corpora": {"sentences": str(tmp_path / "changed.spacy")}}
    srsly.write_yaml(tmp_path / "experiment.yml", srsly.read_yaml(file) | changes)
    before = {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}
    trained = []
    monkeypatch.setattr(runner, "run_cells", lambda cells, *_, **__: trained.extend(cells))
    command = arguments(tmp_path / "experiment.yml", tmp_path)
    result = RUNNER.invoke(btl, command)
    assert result.exit_code == 1
    assert "is not replaced" in result.output
    assert said in " ".join(result.output.split())
    assert {p.name: p.read_bytes() for p in (tmp_path / "results").iterdir()} == before
    assert not trained
    RUNNER.invoke(btl, [*command, "--force"])
    assert len(trained) == 4


def test_a_part_of_the_cells_does_not_replace_the_results_of_all(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    without_cells(tmp_path / "results" / "experiment.tar.xz")
    cells_there = [path for path in (folder / "cells").iterdir() if (path / "cost.json").exists()]
    shutil.copytree(cells_there[0], tmp_path / "cells" / cells_there[0].name)
    command = [*arguments(file, tmp_path), "--summary-only"]
    result = RUNNER.invoke(btl, command)
    assert result.exit_code == 1
    assert "of its counts" in result.output
    assert RUNNER.invoke(btl, [*command, "--force"]).exit_code == 0
    assert len(read_results(tmp_path / "results" / "experiment")["missing"]) == 3


def test_a_damaged_archive_is_a_clear_error(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "results", tmp_path / "results")
    archive = tmp_path / "results" / "experiment.tar.xz"
    archive.write_bytes(archive.read_bytes()[:200])
    result = RUNNER.invoke(btl, [*arguments(file, tmp_path), "--summary-only"])
    assert result.exit_code == 1
    assert "damaged" in result.output


def test_a_precision_that_the_processor_lacks_is_refused(finished, tmp_path):
    file, _, _, _ = finished
    srsly.write_yaml(tmp_path / "half.yml", srsly.read_yaml(file) | {"precision": "float16"})
    result = RUNNER.invoke(btl, arguments(tmp_path / "half.yml", tmp_path))
    assert result.exit_code == 1
    assert "in float16, which this processor" in " ".join(result.output.split())


def test_a_training_that_fails_is_named(finished, tmp_path):
    file, _, _, _ = finished
    spec = srsly.read_yaml(file)
    spec["overrides"]["components.transformer.model.window"] = 256  # the tiny BERT reads 64
    srsly.write_yaml(tmp_path / "failing.yml", spec)
    result = RUNNER.invoke(btl, arguments(tmp_path / "failing.yml", tmp_path))
    assert result.exit_code == 1
    assert "fold 0" in result.output
    assert "train.log" in result.output
    assert not list((tmp_path / "cells").glob("*/cost.json"))


def test_an_arm_that_lacks_a_type_is_compared(finished, tmp_path):
    """As one with a smaller training set may."""
    file, folder, _, _ = finished
    shutil.copytree(folder / "cells", tmp_path / "cells")
    spec = read_experiment(file)
    planned = plan(spec, tmp_path / "cells")
    expected = summarize(spec, planned, kept(tmp_path))["results"]
    for cell in planned:
        if cell.arm == "BTL":
            for path in (tmp_path / "cells" / cell.key).glob("counts-*.npz"):
                counts, classes = counts_of(path)
                wider = ("O", "Aim", *classes[1:])
                save_counts(path, widened(counts, classes, wider), wider)
    found = summarize(spec, planned, kept(tmp_path))["results"]
    assert [row.get("versus_baseline") for row in found] == [
        row.get("versus_baseline") for row in expected
    ]


def test_a_cell_that_fails_costs_no_other(finished, tmp_path):
    file, folder, _, _ = finished
    shutil.copytree(folder / "cells", tmp_path / "cells")
    spec = srsly.read_yaml(file)
    spec["decodings"]["too many"] = {"calibrator": {"knn_weight": 1, "n_neighbors": 100_000}}
    spec["decodings"]["smoothed"] = {"calibrator": {"knn_weight": 0, "transition_weight": 0.2}}
    spec["arms"]["ATL"]["decodings"] = ["arg-max", "kNN", "too many"]
    spec["arms"]["BTL"]["decodings"] = ["arg-max", "smoothed"]
    srsly.write_yaml(tmp_path / "more.yml", spec)
    result = RUNNER.invoke(btl, arguments(tmp_path / "more.yml", tmp_path))
    assert result.exit_code == 1
    assert "n_neighbors = 100000" in " ".join(result.output.split())
    command = [*arguments(tmp_path / "more.yml", tmp_path), "--summary-only"]
    assert RUNNER.invoke(btl, command).exit_code == 0
    summary = read_results(tmp_path / "results" / "more")
    assert "smoothed" in {row["decoding"] for row in summary["results"]}
    assert [name for name in summary["missing"] if "ATL" in name] == summary["missing"] != []


def test_an_error_that_is_not_ours_can_be_sent_back(finished, tmp_path, monkeypatch):
    """From a worker to the command: one that cannot would end all trainings."""
    file, folder, _, _ = finished
    (cell, *_) = plan(read_experiment(file), folder / "cells")

    def fail(*_, **__):
        spacy.blank("en").add_pipe("knn_calibrator", config={"colour": "red"})

    monkeypatch.setattr(runner, "run_cell", fail)
    with pytest.raises(PipelineError, match="ConfigValidationError") as error:
        runner._run(cell, tmp_path, -1)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)


def test_results_of_files_with_dots_in_their_names_stay_apart(tmp_path):
    summary = {"title": "t", "results": [], "baseline": ["ATL", "arg-max"], "missing": []}
    for name in ("btl.v1", "btl.v2"):
        files = write_results(summary, {}, tmp_path / name)
        assert [path.name for path in files] == [
            f"{name}.{kind}" for kind in ("tar.xz", "md", "html")
        ]
