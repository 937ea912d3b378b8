"""Clients of redis-py, by URL: one server, a cluster, or whatever sentinels watch."""

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as ConnectionLost

from asgi_guard.errors import ConfigurationError, Withheld

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


def connector(target: object) -> Callable[[], Client]:
    """Return what makes a client for one event loop, without connecting.

    Args:
        target: A URL, or a client.

    Raises:
        ConfigurationError: It is neither.
    """
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
