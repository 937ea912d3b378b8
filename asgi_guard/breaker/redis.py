"""Where processes meet: a channel of Redis or Valkey, and two keys for each breaker."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.resources import files
from math import ceil
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

_SCRIPT = files("asgi_guard.breaker").joinpath("shared.lua").read_text("utf-8")
_ANSWER = 1.0  # seconds
_MILLISECOND = 1e-3
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # by the kernel, at no command


@dataclass(frozen=True, slots=True)
class Message:
    """What another process has said.

    Attributes:
        word: The word.
        seconds: How long it holds.
        name: The name of the breaker.
        who: Which process.
    """

    word: str
    seconds: float
    name: str
    who: str


NOT_UNDERSTOOD = Message("", 0.0, "", "")
"""What somebody else has said: it is none of our messages."""


class Meeting:
    """One process's connections to the server, for one event loop; it connects when it is used.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads them.
        prefix: What the names of the keys and of the channel begin with.

    Raises:
        ValueError: It is no such URL.
    """

    def __init__(self, url: str, prefix: str) -> None:
        # Nothing is tried again behind our back: what was missed meanwhile has to be looked up.
        settings: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": None}
        if not url.startswith("unix:"):
            settings["socket_keepalive"] = True
            settings["socket_keepalive_options"] = {
                getattr(socket, name): value
                for name, value in _ALIVE.items()
                if hasattr(socket, name)
            }
        self._client = Redis.from_url(url, **settings)
        # A URL may ask for text; what is none would then end the line before it is seen here.
        self._client.connection_pool.connection_kwargs["decode_responses"] = False
        self._me = uuid4().hex
        self._keys = f"{prefix}:breaker:"
        # Keys belong to a database, and channels to the whole server.
        database = self._client.connection_pool.connection_kwargs.get("db") or 0
        self._channel = f"{prefix}:breakers:{database}"

    async def messages(self) -> AsyncGenerator[Message | None, None]:
        """Yield None once it listens, and then what other processes say, or `NOT_UNDERSTOOD`.

        Raises:
            Exception: Whatever redis-py raises when the line is lost; it does not end otherwise.
        """
        async with self._client.pubsub() as listening:
            async with asyncio.timeout(_ANSWER):
                await listening.subscribe(self._channel)
                await listening.get_message(timeout=None)
            yield None
            async for heard in listening.listen():
                if heard["type"] == "message" and (said := _read(heard["data"])).who != self._me:
                    yield said

    async def say(self, word: str, name: str, seconds: float) -> float:
        """Say or ask something; return the seconds that the server answers.

        Args:
            word: What `shared.lua` knows.
            name: The name of the breaker.
            seconds: How long it holds, from 0 up.
        """
        milliseconds = max(1, ceil(seconds / _MILLISECOND))
        question = (
            *(_SCRIPT, 2, f"{self._keys}{{{name}}}:open", f"{self._keys}{{{name}}}:trial"),
            *(word, self._me, milliseconds, self._channel, name),
        )
        async with asyncio.timeout(_ANSWER):
            try:
                answer = await cast("Any", self._client.eval)(*question)
            except ConnectionLost:  # it lay idle: once more, on a new one
                answer = await cast("Any", self._client.eval)(*question)
        return int(answer) * _MILLISECOND

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _read(data: object) -> Message:
    # Whoever may publish there can say anything.
    try:
        word, who, milliseconds, name = cast("bytes", data).decode().split(" ", 3)
        seconds = int(milliseconds) * _MILLISECOND
    except (ValueError, OverflowError):
        return NOT_UNDERSTOOD
    return Message(word, seconds, name, who) if seconds >= 0 else NOT_UNDERSTOOD
