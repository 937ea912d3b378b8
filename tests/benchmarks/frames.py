"""The apps that the stacks are put round: the smallest that a framework can serve."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.params import Depends

from asgi_guard import CircuitOpen
from asgi_guard._asgi import ASGIApp, Receive, Scope, Send

HELLO = "/hello"
"""Answers with a small JSON object: the request that is timed."""
CROWD = "/crowd"
"""Answers, after a few turns of the event loop, how many requests were inside."""
BROKEN = "/broken"
"""Raises what a breaker raises when it refuses."""

_TURNS = 5

Endpoint = Callable[..., Awaitable[dict[str, Any]]]
Frame = Callable[[], ASGIApp]
Close = Callable[[], Awaitable[object]]


class Crowd:
    """Counts the requests inside."""

    def __init__(self) -> None:
        self._inside = 0

    async def count(self) -> dict[str, Any]:
        """Stay for a few turns of the event loop, and tell how many were there."""
        self._inside += 1
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        inside, self._inside = self._inside, self._inside - 1
        return {"inside": inside}


async def hello() -> dict[str, Any]:
    """Answer the request that is timed."""
    return {"hello": "world"}


async def broken() -> dict[str, Any]:
    """Fail as code behind an open breaker does."""
    raise CircuitOpen("payments is out of service", 1.0, "payments")


def plain_asgi() -> ASGIApp:
    """Return an ASGI app without a framework."""
    endpoints: dict[str, Endpoint] = {HELLO: hello, CROWD: Crowd().count, BROKEN: broken}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = json.dumps(await endpoints[scope["path"]]()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def fastapi(
    hello: Endpoint = hello, *, closes: Close | None = None, dependencies: Sequence[Depends] = ()
) -> FastAPI:
    """Return a FastAPI app, with its smallest route or another one in its place.

    Args:
        hello: The route.
        closes: What to call when the app shuts down.
        dependencies: Dependencies of the route.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if closes is not None:
            await closes()

    app = FastAPI(lifespan=lifespan)
    app.get(HELLO, dependencies=dependencies)(hello)
    app.get(CROWD)(Crowd().count)
    app.get(BROKEN)(broken)
    return app
