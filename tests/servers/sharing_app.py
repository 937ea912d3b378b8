"""An app whose workers share a breaker, by the Redis that the environment names.

`/call?fail&take=SECONDS` calls a downstream that writes who called it, `/state` tells the state.
"""

import asyncio
import json
import os
from pathlib import Path
from urllib.parse import parse_qs

from asgi_guard import Breakers, CircuitBreaker
from asgi_guard._asgi import Receive, Scope, Send

OPEN_FOR = 1.0  # seconds

payments = CircuitBreaker(
    "payments",
    consecutive_failures=3,
    open_for=OPEN_FOR,
    jitter=0.0,
    recover_after=1,
    shared=os.environ.get("SHARED"),
)


def note_call() -> None:
    """Write down who calls."""
    with Path(os.environ["CALLS"]).open("a") as calls:
        calls.write(f"{os.getpid()}\n")


async def downstream(*, fail: bool, take: float) -> None:
    """Take a while, and fail or not."""
    note_call()
    await asyncio.sleep(take)
    if fail:
        raise OSError("down")


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Call, or tell."""
    if scope["type"] != "http":
        return
    status = 200
    if scope["path"] == "/call":
        asked = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
        try:
            async with payments:
                await downstream(fail="fail" in asked, take=float(asked.get("take", ["0"])[0]))
        except OSError:
            status = 502
    body = json.dumps({"pid": os.getpid(), "state": payments.state.value}).encode()
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


app = Breakers([payments])(serve)
