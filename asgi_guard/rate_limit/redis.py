"""The Redis store: one decision for all workers, in one round trip for any number of rules.

The decision is a script on the server, by the server's clock. Requests that arrive while an answer
is on its way travel together with the next question, over one connection for each event loop.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from itertools import islice
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import NoScriptError

from asgi_guard._checks import check_name
from asgi_guard.errors import ConfigurationError, Withheld
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.conversation import Conversation
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.store import Charge

_SCRIPT = files("asgi_guard.rate_limit").joinpath("redis.lua").read_text("utf-8")
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_NUMBERS: dict[str, int] = {"sliding-window": 1, "fixed-window": 2, "token-bucket": 3}
_MICROSECOND = 1e-6
_MOST_TOGETHER = 64  # a script must not keep the server from others for long
_URLS = (
    "redis://, rediss:// or unix:// as redis-py reads them, redis+cluster:// or rediss+cluster:// "
    "with one node of a cluster, redis+sentinel://host:port,host:port/service, or a client of "
    "redis.asyncio"
)


class Client(Protocol):
    """A client of redis.asyncio, or of valkey.asyncio: as much of it as is used."""

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that the server knows."""
        ...

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script, and let the server know it."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class RedisStore:
    """Counters in Redis or Valkey, shared by all who use the same server and prefix.

    It connects when it is first asked, and once for each event loop. The server needs version 5 or
    newer. On a cluster all counters of a store live in one slot, since they are decided in one
    step; stores of other prefixes live in others.

    Args:
        target: A URL: `redis://`, `rediss://` and `unix://` as redis-py reads them,
            `redis+cluster://` with a node of a cluster, `redis+sentinel://host:port,host:port/name`
            with the name of the service; or a client of redis.asyncio, of one event loop, which
            stays open.
        prefix: What the names of its keys begin with: printable ASCII without braces; default
            `asgi_guard`.

    Raises:
        ConfigurationError: The target is neither, or the prefix is wrong.
    """

    def __init__(self, target: "str | Client", *, prefix: str = "asgi_guard") -> None:
        check_name("RedisStore.prefix", prefix)
        if "{" in prefix or "}" in prefix:
            raise ConfigurationError("RedisStore.prefix", prefix, "a name without braces")
        self._tag = f"{{{prefix}}}:"
        self._connect = _connector(target)
        self._owns = isinstance(target, str)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    def counter(
        self, rule: str, quota: Quota, algorithm: Algorithm = "sliding-window"
    ) -> "RedisCounter":
        """Return the counter of a rule; see `Store.counter`."""
        number = _NUMBERS.get(algorithm)
        if number is None:
            raise ConfigurationError(
                "Rule.algorithm", algorithm, f"one of {', '.join(_NUMBERS)} on Redis"
            )
        named = rule.replace("%", "%25").replace(":", "%3A")  # so that it ends where the key begins
        period = b"%.17g" % (quota.period / _MICROSECOND)
        return RedisCounter(
            key=f"{self._tag}{named}:{number}:{quota.period:g}:",
            numbers=b"%d %d %s %d" % (number, quota.count, period, quota.capacity),
        )

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses; see `Store.hit`."""
        if not charges:
            return []
        line = self._lines.get(asyncio.get_running_loop())
        if line is None:
            line = self._lines[asyncio.get_running_loop()] = _Line(self._connect())
        return await line.ask(charges, 1.0 if within is None else within)

    async def aclose(self) -> None:
        """Close the connection of this event loop."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.aclose(close_client=self._owns)


@dataclass(frozen=True, slots=True)
class RedisCounter:
    """The counter of one rule.

    Attributes:
        key: What its keys on the server begin with.
        numbers: What the script needs to know of it: algorithm, count, period, burst.
    """

    key: str
    numbers: bytes


class _Line:
    """One event loop's line to the server."""

    def __init__(self, client: Client) -> None:
        self._client = client
        talk: Conversation[Sequence[Charge], Sequence[Decision]]
        talk = Conversation(self._decide, _MOST_TOGETHER)
        self._conversation = talk
        self.ask = talk.ask

    async def aclose(self, *, close_client: bool) -> None:
        await self._conversation.aclose()
        if close_client:
            await self._client.aclose()

    async def _decide(self, requests: Sequence[Sequence[Charge]]) -> list[Sequence[Decision]]:
        keys: list[bytes] = []
        asked: list[bytes] = []
        for charges in requests:
            asked.append(b"%d" % len(charges))
            for counter, key, cost in charges:
                keys.append((counter.key + key).encode("utf-8", "surrogatepass"))
                asked.append(b"%s %d" % (counter.numbers, cost))
        numbers = b" ".join(asked)
        try:
            answer = await self._client.evalsha(_SHA, len(keys), *keys, numbers)
        except NoScriptError:  # a server that has been restarted, or a new one
            answer = await self._client.eval(_SCRIPT, len(keys), *keys, numbers)
        answers = iter(answer.split())
        return [[_decision(answers) for _ in charges] for charges in requests]


def _decision(numbers: Iterator[bytes | str]) -> Decision:
    admitted, remaining, reset, retry = map(int, islice(numbers, 4))
    return Decision(
        admitted == 1,
        remaining,
        reset * _MICROSECOND,
        None if retry < 0 else retry * _MICROSECOND,
    )


def _connector(target: object) -> Callable[[], Client]:
    """Return what makes a client for one event loop, without connecting."""
    if not isinstance(target, str):
        if isinstance(target, type) or not all(
            callable(getattr(target, name, None)) for name in ("evalsha", "eval", "aclose")
        ):
            raise ConfigurationError("RedisStore.target", target, _URLS)
        client: Any = target
        return lambda: client
    try:
        connect = _by_scheme(target)
        connect()
    except (ValueError, TypeError):
        # Without its cause, which may quote it.
        raise ConfigurationError("RedisStore.target", Withheld(target), _URLS) from None
    return connect


def _by_scheme(url: str) -> Callable[[], Client]:
    scheme, _, rest = url.partition("://")
    # Once more, at once, where a connection that lay idle turns out to be closed.
    retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionLost,))
    if scheme in {"redis", "rediss", "unix"}:
        return lambda: Redis.from_url(url, retry=retry)
    if scheme in {"redis+cluster", "rediss+cluster"}:
        plain = f"{scheme.removesuffix('+cluster')}://{rest}"
        return lambda: RedisCluster.from_url(plain)
    if scheme == "redis+sentinel":
        return lambda: _sentinel(url, retry)
    raise ValueError(scheme)


def _sentinel(url: str, retry: Retry) -> Client:
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ValueError("no service")
    username, _, password = credentials.partition(":")
    sentinels = [
        (host, int(port)) for host, _, port in (each.rpartition(":") for each in hosts.split(","))
    ]
    watch: Any = Sentinel  # has no types
    return _Watched(
        watch(sentinels),
        service,
        db=int(database or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        retry=retry,
    )


class _Watched:
    """A client of whichever server the sentinels call the master."""

    def __init__(self, sentinel: Any, service: str, **settings: Any) -> None:
        self._sentinel = sentinel
        self._master = sentinel.master_for(service, **settings)
        self.evalsha = self._master.evalsha
        self.eval = self._master.eval

    async def aclose(self) -> None:
        await self._master.aclose()
        for each in self._sentinel.sentinels:
            await each.aclose()
