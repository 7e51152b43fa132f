"""Requests and answers: bodies of bounded size, errors without text of notes, one line per request.

The body of a request is handled in a thread, so that the service goes on listening. Whatever it
raises becomes an answer here: nothing reaches the server, which would log a traceback.
"""

import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from spacy_btl.errors import ServeError

LOG = logging.getLogger("spacy_btl.serve")
MB = 1_000_000
MAX_FLAWS = 3  # of a body that are named

Body = TypeVar("Body", bound=BaseModel)


class Answer(NamedTuple):
    """What a request is answered.

    content (Optional[Dict[str, Any]]): Sent as JSON; None for an answer without a body.
    said (str): What the log says of it. It never quotes a note.
    """

    content: dict[str, Any] | None = None
    said: str = ""
    status: int = 200


Handle = Callable[[bytes], Answer]
Endpoint = Callable[[Request], Awaitable[Response]]


def post(handle: Handle, limiter: CapacityLimiter, max_bytes: int) -> Endpoint:
    """Make an endpoint of a function over bodies.

    limiter (CapacityLimiter): How many requests are handled at a time, of all its endpoints.
    max_bytes (int): The largest body that is read.
    """

    async def endpoint(request: Request) -> Response:
        started = monotonic()
        try:
            body = await _read(request, max_bytes)
            answer = await to_thread.run_sync(handle, body, limiter=limiter)
            response = _response(answer)
        except Exception as error:  # noqa: BLE001 - whose message may quote the note
            answer = _answer_to(error)
            response = _response(answer)
        said = f": {answer.said}" if answer.said else ""
        LOG.info("%s %d in %.1f s%s", request.url.path, answer.status, monotonic() - started, said)
        return response

    return endpoint


def _response(answer: Answer) -> Response:
    if answer.content is None:
        return Response(status_code=answer.status)
    return JSONResponse(answer.content, answer.status)


def _answer_to(error: Exception) -> Answer:
    if isinstance(error, ServeError):
        return Answer({"error": str(error)}, str(error), error.status)
    if isinstance(error, ClientDisconnect):
        return Answer(None, "the request broke off", 400)
    frame = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__} in {Path(frame.filename).name}, line {frame.lineno}"
    return Answer({"error": f"The service failed: {place}."}, place, 500)


def parse(kind: type[Body], body: bytes) -> Body:
    """Read a body. RAISES: ServeError, if it is not of this kind."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        flaws = error.errors()
        named = "; ".join(
            ": ".join(filter(None, (".".join(map(str, flaw["loc"])), flaw["msg"])))
            for flaw in flaws[:MAX_FLAWS]
        )
        raise ServeError(f"Not a request that is understood here: {named}.") from None


async def _read(request: Request, max_bytes: int) -> bytes:
    """The body of a request, up to a size.

    A page in a browser can send other kinds than JSON to this machine without being asked for
    permission, so they are refused.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ServeError("The body must be JSON: send Content-Type: application/json.", 415)
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > max_bytes:
            raise ServeError(
                f"The request is over {max_bytes // MB:,} MB. Start the service with a larger "
                "--max-mb.",
                413,
            )
    return bytes(body)
