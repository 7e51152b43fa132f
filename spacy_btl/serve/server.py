"""Run the service by uvicorn."""

import contextlib
import logging
import socket
import warnings
from collections.abc import Iterator

from spacy_btl.errors import BtlWarning
from spacy_btl.serve.app import make_app
from spacy_btl.serve.http import LOG, MB
from spacy_btl.serve.model import Model
from spacy_btl.serve.start import HERE
from spacy_btl.serve.training import Training

MAX_WAITING = 32  # requests at a time; further ones are answered 503
PATIENCE = 5  # seconds that requests have to end when the service is stopped


def serve(
    model: Model, opened: socket.socket, *, training: Training | None = None, max_mb: int = 100
) -> None:
    """Answer requests until the process is interrupted.

    opened (socket.socket): From `start.open_port`.
    max_mb (int): The largest body of a request, in MB.
    """
    import uvicorn

    host = opened.getsockname()[0]
    app = make_app(
        model, training, max_bytes=max_mb * MB, hosts=HERE if host == HERE[0] else ("*",)
    )
    config = uvicorn.Config(
        app,
        access_log=False,  # `http.post` logs, without what may be of a note
        log_level=logging.WARNING,
        server_header=False,
        limit_concurrency=MAX_WAITING,
        timeout_graceful_shutdown=PATIENCE,
    )
    with quiet(), contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[opened])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show the log of the service, and no warnings of other libraries: those may quote a note."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("default", BtlWarning)
            yield
    finally:
        LOG.removeHandler(handler)
        LOG.propagate = True
