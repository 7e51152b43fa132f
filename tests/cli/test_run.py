"""What every command shares."""

import json
import warnings
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.cli._run import exits_on_error
from spacy_btl.errors import BtlWarning
from spacy_btl.training.average import average
from tests.conftest import make_examples


@exits_on_error
def command() -> None:
    warnings.warn("The documents are few.", BtlWarning, stacklevel=1)
    warnings.warn("Something else.", RuntimeWarning, stacklevel=1)


@pytest.mark.filterwarnings("default")
def test_warnings_of_ours_are_a_line_and_others_stay_as_they_are(capsys):
    with pytest.warns(RuntimeWarning, match="Something else"):
        command()
    assert capsys.readouterr().err == "⚠ The documents are few.\n"
    with pytest.warns(BtlWarning):  # behind the command all is as before
        warnings.warn("Later.", BtlWarning, stacklevel=1)


# A network that has learned nothing, as model-best is at step 0, is told by every command.


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture(scope="module")
def idle(trained_path, tmp_path_factory) -> Path:
    """A network that says `O` of everything, as spaCy saves it with its figures."""
    nlp = spacy.load(trained_path)
    head = nlp.get_pipe("ner").model.layers[-1].layers[0]
    head.set_param("W", head.get_param("W") * 0)
    bias = head.get_param("b") * 0
    bias[0] = 3
    head.set_param("b", bias)
    nlp.meta["performance"] = {"ents_f": 0.0}
    path = tmp_path_factory.mktemp("idle") / "model-best"
    nlp.to_disk(path)
    return path


def test_evaluate_says_that_nothing_is_learned_and_shows_no_entity_ece(idle, corpus_path, tmp_path):
    status, output = run("evaluate", idle, corpus_path, "--output", tmp_path / "out")
    assert status == 0, output
    assert "⚠ No entity is predicted: has the network learned anything?" in output
    assert "entity ECE n/a" in output or "entity ECE" not in output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "ents_ece" not in metrics["scores"]
    assert metrics["cautions"][0].startswith("No entity is predicted")
    assert "No entity is predicted" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_calibrate_says_that_nothing_is_learned(idle, trained_path, corpus_path, tmp_path):
    status, output = run("calibrate", idle, corpus_path, tmp_path / "out")
    assert status == 0, output
    assert "no better than chance: it has learned nothing" in output
    _, output = run("calibrate", trained_path, corpus_path, tmp_path / "other")
    assert "chance" not in output


@pytest.mark.parametrize("command", ["average", "ensemble"])
def test_average_and_ensemble_say_that_nothing_is_learned(command, idle, trained_path, tmp_path):
    status, output = run(command, trained_path, idle, tmp_path / "out")
    assert (status == 0) or "too far apart" in output
    if status == 0:
        assert f"⚠ {idle} predicted no correct entity" in output
    status, output = run(command, idle, idle, tmp_path / "twice")
    assert status == 0, output
    assert output.count("It has learned nothing") == 2
    _, output = run(command, trained_path, trained_path, tmp_path / "fine")
    assert "⚠" not in output


# No command replaces what is there unless it is asked to.


def contents(path: Path) -> dict[str, bytes]:
    files = [path, *path.rglob("*")]
    return {str(file): file.read_bytes() for file in files if file.is_file()}


@pytest.fixture(scope="module")
def fitted(trained_path, tmp_path_factory) -> Path:
    nlp = spacy.load(trained_path)
    nlp.add_pipe("knn_calibrator", config={"n_neighbors": 3}).fit(make_examples(nlp))
    path = tmp_path_factory.mktemp("fitted") / "model"
    nlp.to_disk(path)
    return path


@pytest.fixture
def notes(tmp_path) -> Path:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"text": "no fever", "ents": [[3, 8, "Sign"]]}\n', "utf-8")
    return path


@pytest.mark.slow
def test_commands_keep_what_is_there_unless_forced(
    trained_path, fitted, corpus_path, held_out_path, notes, tmp_path
):
    for number, (args, output) in enumerate(
        [
            (["convert", notes], "OUT.spacy"),
            (["stats", corpus_path, "--output"], "OUT.json"),
            (["split", corpus_path], "OUT"),
            (["average", trained_path, trained_path], "OUT"),
            (["ensemble", trained_path, trained_path], "OUT"),
            (["calibrate", trained_path, corpus_path], "OUT"),
            (["tune", fitted, held_out_path], "OUT"),
            (["evaluate", fitted, corpus_path, "--output"], "OUT"),
        ]
    ):
        out = tmp_path / str(number) / output
        status, text = run(*args, out)
        assert status == 0, text
        before = contents(out)
        assert before
        status, text = run(*args, out)
        assert status == 1, args
        assert "exists: give another name, or --force to replace it." in text
        assert str(out) in text
        assert contents(out) == before
        status, text = run(*args, out, "--force")
        assert status == 0, text


def test_what_is_no_pipeline_is_kept_even_with_force(trained_path, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, text = run("average", trained_path, trained_path, tmp_path, "-F")
    assert status == 1
    assert "exists and holds no pipeline" in text
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_function_average_replaces_a_pipeline(trained_path, tmp_path):
    for _ in range(2):
        average([str(trained_path)] * 2, tmp_path / "out")
