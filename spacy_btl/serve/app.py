"""The addresses of the service: those of INCEpTION's protocol, and those of Label Studio's."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from spacy_btl.serve import documents, events, inception, label_studio
from spacy_btl.serve.http import LOG, Handle, post
from spacy_btl.serve.model import Model
from spacy_btl.serve.training import Training

INCEPTION, LABEL_STUDIO = "/inception", "/label-studio"
TOOLS = f"The tools are given {INCEPTION} (INCEpTION) and {LABEL_STUDIO} (Label Studio)"


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
        middleware=[Middleware(_KnownHosts, hosts=list(hosts))],
        exception_handlers={HTTPException: _no_route},
        lifespan=lifespan,
    )


class _KnownHosts:
    """Refuse requests that are addressed to another name, and log that without the name."""

    def __init__(self, app: ASGIApp, hosts: list[str]) -> None:
        self.app = app
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        accepted = False

        async def accept(*_: object) -> None:
            nonlocal accepted
            accepted = True

        async def answer(_: object) -> None:
            """Not sent: ours says more."""

        judge = TrustedHostMiddleware(accept, self.hosts, www_redirect=False)
        await judge(scope, receive, answer)
        if accepted:
            await self.app(scope, receive, send)
            return
        names = " or ".join(self.hosts)
        LOG.info("%s refused: 400: its Host header is not %s", scope["method"], names)
        error = f"This service answers requests that are addressed to {names}: give that address."
        await JSONResponse({"error": error}, 400)(scope, receive, send)


async def _no_route(request: Request, error: Exception) -> Response:
    """Answer what no route takes. The log does not name an address that is not ours, since it may
    be a note, nor a query."""
    status, headers = 500, None
    if isinstance(error, HTTPException):
        status, headers = error.status_code, error.headers
    wrong, said = "Nothing is at this address", "an unknown address"
    if status == 405:  # raised by a route, so the path is one of ours
        said = request.url.path
        wrong = f"{request.method} is not answered at {said}"
    LOG.info("%s of %s: %d", request.method, said, status)
    routes = ", ".join(_listed(request.app.routes))
    return JSONResponse({"error": f"{wrong}. {TOOLS}, and ask {routes}."}, status, headers)


def _listed(routes: Iterable[BaseRoute], above: str = "") -> Iterator[str]:
    """The routes, as "POST /inception/predict"."""
    for route in routes:
        if isinstance(route, Mount):
            yield from _listed(route.routes, above + route.path)
        elif isinstance(route, Route):
            yield f"{'/'.join(sorted((route.methods or set()) - {'HEAD'}))} {above}{route.path}"
