"""The driver: calls an app as a server does, with a new scope and a new task for each request."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from time import perf_counter, process_time
from typing import Any, cast

from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from asgi_guard._asgi import ASGIApp, Message, Scope
from tests.benchmarks.frames import HELLO

Address = tuple[str, int]

_FIRST_CLIENT = IPv4Address("10.0.0.1")
_PORT = 40_000
_AT_ONCE = 16  # a busy server finds several requests in each turn of the event loop
_LINES = 32
_HEADERS = (
    (b"host", b"api.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"application/json, text/plain, */*"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"referer", b"https://www.example.com/"),
    (b"cookie", b"session=6f1c2f3e9b7a4c5d8e0f1a2b3c4d5e6f"),
    (b"connection", b"keep-alive"),
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request cost, on average over a slice; seconds.

    Attributes:
        cpu: Of all threads of this process: some libraries tidy up in a thread.
        wall: By the clock on the wall.
    """

    cpu: float
    wall: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets: status, header fields by name in lower case, body."""

    status: int
    headers: dict[str, str]
    body: bytes


def addresses(count: int) -> list[Address]:
    """Return the addresses of that many clients."""
    return [(str(_FIRST_CLIENT + number), _PORT) for number in range(count)]


def pick(clients: list[Address], count: int, seed: int) -> list[Address]:
    """Choose who sends the requests of a slice; the same seed chooses the same clients."""
    return random.Random(seed).choices(clients, k=count)


def request(client: Address, path: str = HELLO) -> Scope:
    """Return the scope of one request, as uvicorn makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("10.255.0.1", 8000),
        "client": client,
        "scheme": "http",
        "method": "GET",
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(_HEADERS),
        "state": {},
    }


async def run(app: ASGIApp, clients: Sequence[Address]) -> Cost:
    """Send one request for each of these clients, a few in each turn of the loop, and measure."""
    call = _coroutine_function(app)
    scopes = [request(client) for client in clients]
    create_task = asyncio.get_running_loop().create_task
    wall, cpu = perf_counter(), process_time()
    for start in range(0, len(scopes), _AT_ONCE):
        batch = scopes[start : start + _AT_ONCE]
        for task in [create_task(call(scope, _receive, _send)) for scope in batch]:
            await task
    cpu, wall = process_time() - cpu, perf_counter() - wall
    return Cost(cpu / len(scopes), wall / len(scopes))


async def run_in_lines(app: ASGIApp, clients: Sequence[Address]) -> Cost:
    """Send one request for each of these clients, with so many always under way, and measure.

    For apps that wait for something: on each line the next request comes when the one before it
    has been answered, as on a connection that is kept alive.
    """
    call = _coroutine_function(app)
    scopes = [request(client) for client in clients]
    waiting = iter(scopes)
    create_task = asyncio.get_running_loop().create_task

    async def line() -> None:
        for scope in waiting:
            await create_task(call(scope, _receive, _send))

    wall, cpu = perf_counter(), process_time()
    await asyncio.gather(*(line() for _ in range(_LINES)))
    cpu, wall = process_time() - cpu, perf_counter() - wall
    return Cost(cpu / len(scopes), wall / len(scopes))


Run = Callable[[ASGIApp, Sequence[Address]], Awaitable[Cost]]
"""A way of sending requests."""


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[ASGIApp]:
    """Start an app up and shut it down, as a server does, if it is one that may need that."""
    if isinstance(app, FastAPI):
        async with LifespanManager(app):
            yield app
    else:
        yield app


async def exchange(app: ASGIApp, client: Address, path: str = HELLO) -> Answer:
    """Send one request and return the answer."""
    sent: list[Message] = []

    async def keep(message: Message) -> None:
        sent.append(message)

    await app(request(client, path), _receive, keep)
    fields = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent)
    if fields.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return Answer(sent[0]["status"], fields, body)


def _coroutine_function(app: ASGIApp) -> Callable[..., Coroutine[Any, Any, None]]:
    return cast("Callable[..., Coroutine[Any, Any, None]]", app)


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass
