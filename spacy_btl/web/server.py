"""Serve the page on 127.0.0.1 with Streamlit, without internet access."""

from importlib.util import find_spec
from pathlib import Path

from spacy_btl.about import how_to_install
from spacy_btl.errors import PageError
from spacy_btl.web.session import open_pipeline

PAGE = Path(__file__).with_name("page.py")
OPTIONS = {
    "server.address": "127.0.0.1",
    "server.headless": "true",  # no question for an e-mail address, no browser
    "server.fileWatcherType": "none",
    "server.maxUploadSize": "20",  # megabytes
    "browser.gatherUsageStats": "false",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
}


def serve(
    model: str, *, port: int, metrics: Path | None = None, corpus: Path | None = None
) -> None:
    """Serve the page until the process is interrupted.

    model (str): A pipeline: a package name or a folder.
    metrics (Optional[Path]): The `metrics.json` of its evaluation.
    corpus (Optional[Path]): The .spacy file that the calibrator was fitted to.
    RAISES: PageError, without Streamlit or one of the files; PipelineError, without the pipeline.
    """
    if find_spec("streamlit") is None:
        raise PageError(f"The page needs Streamlit: install it {how_to_install('web')}.")
    for file in (metrics, corpus):
        if file is not None and not file.is_file():
            raise PageError(f"{file}: no such file.")
    open_pipeline(model)  # cached for the threads of this process, which draw the page
    from streamlit.web import cli

    flags = [f"--{name}={value}" for name, value in {**OPTIONS, "server.port": port}.items()]
    arguments = [model, str(metrics or ""), str(corpus or "")]
    cli.main(["run", str(PAGE), *flags, "--", *arguments], standalone_mode=False)
