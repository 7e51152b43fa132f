"""What is checked before the service starts, and the port that it takes."""

import socket
from importlib.util import find_spec

from spacy_btl.about import how_to_install
from spacy_btl.errors import ServeError

HERE = ("127.0.0.1", "localhost")
LIBRARIES = {"starlette": "Starlette", "uvicorn": "uvicorn", "cassis": "dkpro-cassis"}


def require_libraries() -> None:
    """RAISES: ServeError, without the libraries of the `serve` extra."""
    for name, called in LIBRARIES.items():
        if find_spec(name) is None:
            raise ServeError(f"The service needs {called}: install it {how_to_install('serve')}.")


def open_port(host: str, port: int) -> socket.socket:
    """Take a port, before the pipeline is loaded. port (int): 0 for any that is free.

    RAISES: ServeError, if it cannot be taken.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        opened = socket.socket(family)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
    except OSError as error:
        raise ServeError(
            f"Port {port} of {host} cannot be used ({error.strerror}). Give another by --port."
        ) from None
    return opened
