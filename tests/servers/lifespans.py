"""Guarded apps that differ in what they make of the lifespan scope."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_guard import CircuitBreaker, ConcurrencyLimit, Guard, Health, Metrics, RateLimit
from asgi_guard._asgi import Receive, Scope, Send

guard = Guard(
    health=Health(),
    metrics=Metrics(),
    rate_limit=RateLimit("2/hour"),
    concurrency=ConcurrencyLimit(4),
    breakers=[CircuitBreaker("downstream")],
)


@asynccontextmanager
async def _tell(app: Starlette) -> AsyncIterator[dict[str, str]]:
    print("lifespan: started")
    yield {"word": "from the lifespan"}
    print("lifespan: ended")


async def _word(request: Request) -> JSONResponse:
    return JSONResponse(request.state.word)


async def _bare(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b'"bare"'})


told = guard(Starlette(routes=[Route("/", _word)], lifespan=_tell))
bare = guard(_bare)
