"""Where processes meet: a channel of Redis or Valkey, and two keys for each breaker."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from importlib.resources import files
from math import ceil
from typing import Any, cast
from uuid import uuid4

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

from asgi_guard.redis_urls import client_of

_SCRIPT = files("asgi_guard.breaker").joinpath("shared.lua").read_text("utf-8")
_NOBODY = ""  # no breaker is called so
_ANSWER = 1.0  # seconds
_NODE_ANSWERS = 0.25  # seconds; then another node of the cluster is asked how things are
_MILLISECOND = 1e-3
_ALIVE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # by the kernel, at no command

# A URL may ask for text, and what is none would end the line before it is seen here; or for an
# answer in so many seconds, and who listens may hear nothing for days.
_LISTENING = {"decode_responses": False, "socket_timeout": None}


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

    All keys of a prefix are in one slot, so that a cluster has one server that knows everything:
    who listens there, and asks there, notices when it is gone.

    Args:
        url: One of `redis_urls.URLS`.
        prefix: What the names of the keys and of the channel begin with; no braces.

    Raises:
        ValueError: It is no such URL.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._client = client_of(url)(**_settings(url))
        self._listening: Redis | None = None
        self._me = uuid4().hex
        self._keys = f"{{{prefix}}}:breaker:"
        pool = getattr(self._client, "connection_pool", None)  # clusters have none, nor databases
        database = pool.connection_kwargs.get("db") if pool else 0
        # Keys belong to a database, and channels to the whole server.
        self._channel = f"{prefix}:breakers:{database or 0}"

    async def messages(self) -> AsyncGenerator[Message | None, None]:
        """Yield None once it listens and may speak; then what others say, or `NOT_UNDERSTOOD`.

        Raises:
            Exception: Whatever redis-py raises when the line is lost; it does not end otherwise.
        """
        async with asyncio.timeout(_ANSWER):
            self._listening = await self._listener()
        async with self._listening.pubsub() as listening:
            async with asyncio.timeout(_ANSWER):
                await listening.subscribe(self._channel)
                await listening.get_message(timeout=None)
            # Who may not write there, or is told that nobody may now, has no part in it either.
            await self.say("open", _NOBODY, 0)
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
            *(_SCRIPT, 2, f"{self._keys}{name}:open", f"{self._keys}{name}:trial"),
            *(word, self._me, milliseconds, self._channel, name),
        )
        async with asyncio.timeout(_ANSWER):
            try:
                answer = await self._client.eval(*question)
            except ConnectionLost:  # it lay idle: once more, on a new one
                answer = await self._client.eval(*question)
        return int(answer) * _MILLISECOND

    async def aclose(self) -> None:
        """Close the connections; used again, it connects again."""
        listening, self._listening = self._listening, None
        try:
            if listening is not None:
                await listening.aclose()
        finally:
            await self._client.aclose()

    async def _listener(self) -> Redis:
        """Return a client with one connection more, whatever the URL says of their number."""
        server = getattr(self._client, "connection_pool", None)
        if server is None:
            await self._client.initialize()
            server = self._client.get_node_from_key(self._keys)
        settings = {**server.connection_kwargs, **_LISTENING}
        return Redis.from_pool(ConnectionPool(server.connection_class, **settings))


def _settings(url: str) -> dict[str, Any]:
    # Nothing is tried again behind our back: what was missed meanwhile has to be looked up.
    settings: dict[str, Any] = {"retry": Retry(NoBackoff(), 0), "socket_timeout": None}
    if "+cluster:" in url.partition("//")[0]:  # but by another node, where one is gone
        settings["retry"] = Retry(NoBackoff(), 1)
        settings["socket_timeout"] = settings["socket_connect_timeout"] = _NODE_ANSWERS
    if not url.startswith("unix:"):
        settings["socket_keepalive"] = True
        settings["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in _ALIVE.items() if hasattr(socket, name)
        }
    return settings


def _read(data: object) -> Message:
    # Whoever may publish there can say anything.
    try:
        word, who, milliseconds, name = cast("bytes", data).decode().split(" ", 3)
        seconds = int(milliseconds) * _MILLISECOND
    except (ValueError, OverflowError):
        return NOT_UNDERSTOOD
    return Message(word, seconds, name, who) if seconds >= 0 else NOT_UNDERSTOOD
