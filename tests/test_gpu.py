"""The GPU that is asked for is used; one that is not there is told in a line."""

import pytest
import thinc.backends
import thinc.util
from spacy.cli._util import app
from thinc.compat import has_gpu
from typer.testing import CliRunner

import spacy_btl.cli  # noqa: F401  (adds the commands)
from spacy_btl.errors import PipelineError
from spacy_btl.gpu import use_gpu

no_gpu = pytest.mark.skipif(has_gpu, reason="there is a GPU")


@no_gpu
def test_it_cannot_be_used():
    use_gpu(-1)
    with pytest.raises(PipelineError, match=r"used: Cannot use GPU.*pip install '\.\[cuda12x\]'"):
        use_gpu(0)


def test_the_gpu_that_is_asked_for_becomes_thincs(monkeypatch):
    """Thinc's own function is called, with what it needs of CuPy and torch stood in for."""
    asked = []
    for name in ("has_cupy", "has_cupy_gpu", "has_gpu"):
        monkeypatch.setattr(thinc.util, name, True)
    monkeypatch.setattr(thinc.backends, "set_current_ops", lambda ops: None)
    monkeypatch.setattr(thinc.backends, "CupyOps", lambda: None)
    monkeypatch.setattr(thinc.util, "set_active_gpu", asked.append)
    use_gpu(1)
    assert asked == [1]


@no_gpu
def test_commands_say_so_in_a_line(trained_path, corpus_path, tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"id": "1", "text": "No fever."}\n')
    (tmp_path / "config.cfg").write_text("")
    crossfit = ["--fit-on", "crossfit", "--config", tmp_path / "config.cfg"]
    for args in (
        ["annotate", trained_path, tmp_path / "notes.jsonl", tmp_path / "out.jsonl"],
        ["bias-test", corpus_path, "--output", tmp_path / "bias"],
        ["calibrate", trained_path, corpus_path, tmp_path / "out", *crossfit],
    ):
        result = CliRunner().invoke(app, ["btl", *map(str, args), "-g", "0"])
        assert result.exit_code == 1
        assert "The GPU 0 cannot be used" in result.output
        assert "Traceback" not in result.output
