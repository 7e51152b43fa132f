"""`python -m spacy btl serve`, as its user sees it."""

import importlib.util
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from tests.conftest import SENTENCES

pytest.importorskip("uvicorn", reason="needs the extra: spacy-btl[serve]")

from tests.serve.conftest import tasks


def run(*args):
    """The exit status, and the output with its white space normalised."""
    result = CliRunner().invoke(app, ["btl", "serve", *map(str, args)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, " ".join(result.output.split())


def test_what_cannot_work_is_said_in_a_line_at_once(calibrated_path, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for args, message in (
            (("--port", port), f"Port {port} of 127.0.0.1 cannot be used"),
            (("--fit-options", "--efort small"), "--fit-options: No such option: --efort"),
            (("--fit-options", "--effort huge"), "--fit-options: Invalid value for '--effort'"),
            (("--fit-options", "'"), "--fit-options: No closing quotation."),
            (("--port", 0, "--train-to", tmp_path / "mine"), "is not of `btl serve`"),
        ):
            status, output = run(calibrated_path, *args)
            assert status == 1, output
            assert output.startswith("✘")
            assert message in output
    status, output = run(tmp_path / "gone", "--port", 0)
    assert (status, "Cannot load the pipeline" in output) == (1, True)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "spacy_btl.serve.start.find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    status, output = run(calibrated_path)
    assert status == 1
    assert "The service needs uvicorn: install it by pip install '.[serve]'" in output


def test_it_says_where_it_is_and_what_to_beware_of(
    calibrated_path, trained_path, tmp_path, monkeypatch
):
    served = []
    monkeypatch.setattr(
        "spacy_btl.serve.server.serve", lambda model, opened, **_: served.append(opened)
    )
    folder = tmp_path / "folder"
    (folder / "fit" / "pipeline").mkdir(parents=True)
    (folder / "project.json").write_text("[]")
    status, output = run(calibrated_path, "--port", 0, "--host", "0.0.0.0", "--train-to", folder)
    assert status == 0, output
    assert re.search(r"INCEpTION http://0\.0\.0\.0:\d+/inception", output)
    assert re.search(r"Label Studio http://0\.0\.0\.0:\d+/label-studio", output)
    assert "without a password, and notes travel there unencrypted" in output
    assert f"Annotated notes are stored in {folder}" in output
    assert "An earlier training left" in output
    assert "Confidence is not calibrated" in output
    status, output = run(calibrated_path, "--port", 0)
    assert status == 0
    assert "unencrypted" not in output
    assert "stored" not in output
    assert len(served) == 2
    status, output = run(trained_path, "--port", 0)
    assert status == 0
    assert "Confidence is not calibrated: there is no fitted knn_calibrator" in output


@pytest.mark.slow
def test_it_answers_until_it_is_interrupted_and_prints_no_note(calibrated_path):
    command = [sys.executable, "-m", "spacy", "btl", "serve", str(calibrated_path), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "Label Studio" in line:
            break
    address = lines[-1].split()[-1]
    text = f"{SENTENCES[0][0]} zyxwvut"
    for _ in range(100):
        try:
            response = httpx.post(f"{address}/predict", json=tasks(text), timeout=60)
            break
        except httpx.ConnectError:
            time.sleep(0.1)
    assert response.json()["results"][0]["result"]
    for content in (text, "{" + text):
        headers = {"Content-Type": "application/json"}
        response = httpx.post(f"{address}/predict", content=content, headers=headers)
        assert response.status_code == 400
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert output.count("/label-studio/predict") == 3
    assert "Stopped." in output.splitlines()[-1]
    assert "zyxwvut" not in output
    assert "Traceback" not in output
