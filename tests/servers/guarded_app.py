"""The app that is really served: every handler waits for a `POST /go/{token}`, never for time.

`app` is wrapped in the guard; `added` has the same guard added as FastAPI middleware; `undeniable`
is served as by a server that does not offer the denial response for websockets.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter, FastAPI, WebSocket
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from asgi_guard import (
    CircuitBreaker,
    ConcurrencyLimit,
    Guard,
    Health,
    Metrics,
    RateLimit,
    Rule,
    connection,
)
from asgi_guard._asgi import ASGIApp, Receive, Scope, Send, header_value

PERMITS = 2
QUEUE = 2
QUOTA = 3

downstream = CircuitBreaker("downstream", consecutive_failures=1, open_for=600)


def named_client(scope: Scope) -> str | None:
    """Charge the clients that say who they are; the others are exempt."""
    name = header_value(scope, b"x-client")
    return None if name is None else name.decode("latin-1")


guard = Guard(
    health=Health(access=["127.0.0.0/8"]),
    metrics=Metrics(),
    rate_limit=RateLimit(
        Rule(f"{QUOTA}/hour", name="named", key=named_client),
        messages=[Rule(f"{QUOTA}/hour", key=connection, path="/ws/few")],
    ),
    concurrency=[
        # Only GET: what controls the handlers is POST, and must get in when all permits are held.
        ConcurrencyLimit(PERMITS, methods={"GET"}, max_waiting=QUEUE, max_wait=60),
        ConcurrencyLimit(1, name="brief", path="/brief/*", max_wait=0.05),
    ],
    breakers=[downstream],
)


class Gate:
    """Where handlers wait for the test."""

    def __init__(self) -> None:
        self.waiting = 0
        self._open = asyncio.Event()

    async def passed(self) -> None:
        """Wait until the gate is opened."""
        self.waiting += 1
        try:
            await self._open.wait()
        finally:
            self.waiting -= 1

    def open(self) -> None:
        """Let everybody through, from now on."""
        self._open.set()


router = APIRouter()
gates: defaultdict[str, Gate] = defaultdict(Gate)


@router.api_route("/plain", methods=["GET", "POST"])
async def _plain(request: Request) -> int:
    return len(await request.body())


@router.post("/waiting/{token}")
async def _waiting(token: str) -> int:
    return gates[token].waiting


@router.post("/go/{token}")
async def _go(token: str) -> None:
    gates[token].open()


@router.get("/hold/{token}")
@router.get("/brief/{token}")
async def _hold(token: str) -> str:
    await gates[token].passed()
    return token


@router.get("/stream/{token}", response_class=StreamingResponse)
async def _stream(token: str) -> Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"first "
        await gates[token].passed()
        yield b"last"

    return StreamingResponse(chunks(), media_type="text/plain")


@router.get("/background/{token}")
async def _background(token: str) -> Response:
    return PlainTextResponse("done", background=BackgroundTask(gates[token].passed))


@router.post("/downstream/trip")
async def _trip() -> None:
    with suppress(Exception):
        async with downstream:
            raise OSError


@router.get("/downstream")
async def _call_downstream() -> None:
    async with downstream:
        pass


@router.get("/broken")
async def _broken() -> None:
    raise ZeroDivisionError


@router.websocket("/ws/few")
@router.websocket("/ws/echo")
async def _echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


@router.websocket("/ws/downstream")
async def _downstream_socket(socket: WebSocket) -> None:
    async with downstream:
        await socket.accept()


def without_denial(wrapped: ASGIApp) -> ASGIApp:
    """Hide that the server offers the denial response."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        offered = scope.get("extensions") or {}
        kept = {name: value for name, value in offered.items() if "websocket" not in name}
        await wrapped({**scope, "extensions": kept}, receive, send)

    return serve


def _unguarded() -> FastAPI:
    made = FastAPI()
    made.include_router(router)
    return made


app = guard(_unguarded())
added = _unguarded()
added.add_middleware(guard)
undeniable = without_denial(app)
