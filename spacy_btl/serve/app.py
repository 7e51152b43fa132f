"""The addresses of the service: those of INCEpTION's protocol, and those of Label Studio's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from spacy_btl.serve import documents, events, inception, label_studio
from spacy_btl.serve.http import LOG, Handle, post
from spacy_btl.serve.model import Model
from spacy_btl.serve.training import Training

INCEPTION, LABEL_STUDIO = "/inception", "/label-studio"
NO_PAGE = (
    f"Nothing is at this address. The tools are given these: {INCEPTION} to INCEpTION, "
    f"{LABEL_STUDIO} to Label Studio."
)


def make_app(
    model: Model,
    training: Training | None = None,
    *,
    max_bytes: int,
    hosts: Sequence[str] = ("*",),
) -> Starlette:
    """Make the service, as an ASGI application.

    training (Optional[Training]): None: it does not train. Its training ends with the service.
    max_bytes (int): The largest body of a request.
    hosts (Sequence[str]): The names by which it may be addressed. A page of another site cannot
        make a browser use these.
    """
    # Predictions wait for each other; what has to be answered within a second does not wait for
    # them.
    predicting, keeping = CapacityLimiter(1), CapacityLimiter(1)

    def predicts(path: str, handle: Handle) -> Route:
        return Route(path, post(handle, predicting, max_bytes), methods=["POST"])

    def keeps(path: str, handle: Handle) -> Route:
        return Route(path, post(handle, keeping, max_bytes), methods=["POST"])

    async def health(_: Request) -> Response:
        return JSONResponse(label_studio.health(model).content)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        if training is not None:
            await to_thread.run_sync(training.stop)

    return Starlette(
        routes=[
            Mount(
                INCEPTION,
                routes=[
                    predicts("/predict", partial(inception.predict, model=model)),
                    keeps("/train", partial(documents.train, training=training)),
                ],
            ),
            Mount(
                LABEL_STUDIO,
                routes=[
                    Route("/health", health),
                    Route("/", health),
                    keeps("/setup", partial(label_studio.setup, model=model)),
                    predicts("/predict", partial(label_studio.predict, model=model)),
                    keeps("/webhook", partial(events.webhook, training=training)),
                    keeps("/train", partial(events.train, training=training)),
                ],
            ),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: _no_page},
        lifespan=lifespan,
    )


async def _no_page(request: Request, error: Exception) -> Response:
    """Answer what is sent to another address; the log does not name it, since a query may be a
    note."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    LOG.info("%s of an unknown address: %d", request.method, status)
    return JSONResponse({"error": NO_PAGE}, status)
