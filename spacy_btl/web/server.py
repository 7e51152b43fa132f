"""Serve the page on 127.0.0.1 with Streamlit, without internet access."""

from importlib.util import find_spec
from pathlib import Path

from spacy_btl.about import how_to_install
from spacy_btl.errors import PageError
from spacy_btl.web.session import listed_notes, open_pipeline

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
    model: str,
    *,
    port: int,
    metrics: Path | None = None,
    corpus: Path | None = None,
    notes: Path | None = None,
    text_column: str = "text",
    id_column: str = "id",
) -> None:
    """Serve the page until the process is interrupted.

    model (str): A pipeline: a package name or a folder.
    metrics (Optional[Path]): The `metrics.json` of its evaluation.
    corpus (Optional[Path]): The .spacy file that the calibrator was fitted to.
    notes (Optional[Path]): Notes to show, in the forms that `btl annotate` reads.
    text_column, id_column (str): Their columns, or keys of JSON lines.
    RAISES: PageError, without Streamlit or one of the files; PipelineError, without the pipeline;
        BtlError, for notes that cannot be read.
    """
    if find_spec("streamlit") is None:
        raise PageError(f"The page needs Streamlit: install it {how_to_install('web')}.")
    for file in (metrics, corpus):
        if file is not None and not file.is_file():
            raise PageError(f"{file}: no such file.")
    # Both are cached for the threads of this process, which draw the page.
    if notes is not None:
        listed_notes(notes, text_column, id_column)
    open_pipeline(model)
    from streamlit.web import cli

    flags = [f"--{name}={value}" for name, value in {**OPTIONS, "server.port": port}.items()]
    files = [str(file or "") for file in (metrics, corpus, notes)]
    arguments = [model, *files, text_column, id_column]
    cli.main(["run", str(PAGE), *flags, "--", *arguments], standalone_mode=False)
