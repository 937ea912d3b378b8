"""A websocket client that reconnects: while it is cut off, what it shows says how old it is.

uvicorn examples._feed:app --port 8001        to be stopped and started again
uvicorn examples.websocket_client:app         and then    curl localhost:8000
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from asgi_guard import CircuitBreaker, Guard, reconnecting

URL = os.environ.get("FEED", "ws://localhost:8001")
prices = CircuitBreaker("prices", open_for=1.0, recover_after=1)
last = {"price": 0.0, "heard": 0.0}


async def follow() -> None:
    """Keep the last price, over one connection after another."""
    dials = reconnecting(lambda: connect(URL), prices, min_uptime=1.0, backoff_max=5.0)
    async with aclosing(dials) as sockets:
        async for socket in sockets:
            with suppress(ConnectionClosed):
                async for message in socket:
                    last.update(price=float(message), heard=asyncio.get_running_loop().time())


async def show(_: Request) -> JSONResponse:
    """Answer with the last price, however old."""
    age = asyncio.get_running_loop().time() - last["heard"]
    return JSONResponse({"price": last["price"], "age": age, "circuit": prices.state.value})


@asynccontextmanager
async def following(_: Starlette) -> AsyncIterator[None]:
    """Follow the feed as long as the app runs."""
    task = asyncio.create_task(follow())
    yield
    task.cancel()


app = Guard(breakers=[prices])(Starlette(routes=[Route("/", show)], lifespan=following))
