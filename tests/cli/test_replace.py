"""No command replaces what is there unless it is asked to."""

from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.training.average import average
from tests.conftest import make_examples


def run(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["btl", *map(str, args)])
    return result.exit_code, " ".join(result.output.split())


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
    path.write_text('{"text": "no fever", "ents": [[3, 8, "Sign"]]}\n' * 1, "utf-8")
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


def test_what_is_no_pipeline_is_kept_even_so(trained_path, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    status, text = run("average", trained_path, trained_path, tmp_path, "-F")
    assert status == 1
    assert "exists and holds no pipeline" in text
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_the_function_behind_it_replaces_a_pipeline(trained_path, tmp_path):
    for _ in range(2):
        average([str(trained_path)] * 2, tmp_path / "out")
