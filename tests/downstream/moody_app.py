"""A server whose answers are as each test wishes, and which counts what it is asked."""

import asyncio
import json
import zlib
from dataclasses import dataclass, field
from typing import Any

from asgi_guard._asgi import Receive, Scope, Send


@dataclass
class Mood:
    """How `/task/NAME` is answered, and what was seen there."""

    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    pieces: int = 1
    pause: float = 0.0
    seen: int = 0
    at_once: int = 0
    most_at_once: int = 0


moods: dict[str, Mood] = {}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/task/NAME`, take `PUT /mood/NAME`, and tell `/seen/NAME`."""
    _, kind, name = scope["path"].split("/", 2)
    mood = moods.setdefault(name, Mood())
    if kind == "mood":
        for key, value in json.loads((await receive())["body"]).items():
            setattr(mood, key, value)
        await answer(send, 200, {}, [b"{}"], 0.0)
    elif kind == "seen":
        seen = {"seen": mood.seen, "most_at_once": mood.most_at_once}
        await answer(send, 200, {}, [json.dumps(seen).encode()], 0.0)
    else:
        await work(mood, send)


async def work(mood: Mood, send: Send) -> None:
    """Answer as the mood is."""
    mood.seen += 1
    mood.at_once += 1
    mood.most_at_once = max(mood.most_at_once, mood.at_once)
    try:
        await asyncio.sleep(mood.delay)
        await answer(send, mood.status, mood.fields, pieces(mood), mood.pause)
    finally:
        mood.at_once -= 1


def pieces(mood: Mood) -> list[bytes]:
    """Return the body, coded if the fields say so, each piece to be decoded by itself."""
    plain = [b"piece"] * mood.pieces
    if mood.fields.get("content-encoding") != "gzip":
        return plain
    coding = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    coded = [coding.compress(piece) + coding.flush(zlib.Z_SYNC_FLUSH) for piece in plain]
    return [*coded, coding.flush()]


async def answer(
    send: Send, status: int, fields: dict[str, str], pieces: list[bytes], pause: float
) -> None:
    """Send a response piece by piece."""
    headers: list[Any] = [[key.encode(), value.encode()] for key, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(pause)
    await send({"type": "http.response.body", "body": b""})
