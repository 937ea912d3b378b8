"""Clients of redis-py, by URL: one server, a cluster, or whatever sentinels watch."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException

URLS = (
    "redis://, rediss:// or unix:// as redis-py reads them, redis+cluster:// or rediss+cluster:// "
    "with one node of a cluster, redis+sentinel://host:port,host:port/service"
)
"""Which there are."""

_SENTINEL_ANSWERS = 0.25  # seconds; then the next one is asked


def client_of(url: str) -> Callable[..., Any]:
    """Return what makes a client for one event loop, without connecting.

    It takes settings of redis-py's clients as keywords; what the URL says holds against them.

    Args:
        url: One of `URLS`.

    Raises:
        ValueError: It is none.
    """
    make = _by_scheme(url)
    try:
        pool = getattr(make(), "connection_pool", None)
        if pool is not None:
            pool.make_connection()  # which takes no option that it does not know
    except (TypeError, AttributeError, RedisClusterException) as error:
        raise ValueError(type(error).__name__) from error
    return make


def _by_scheme(url: str) -> Callable[..., Any]:
    scheme, _, rest = url.partition("://")
    if scheme in {"redis", "rediss", "unix"}:
        return lambda **settings: Redis.from_url(url, **settings)
    if scheme in {"redis+cluster", "rediss+cluster"}:
        plain = f"{scheme.removesuffix('+cluster')}://{rest}"
        return lambda **settings: _Cluster.from_url(plain, **settings)
    if scheme == "redis+sentinel":
        return lambda **settings: _sentinel(url, settings)
    raise ValueError(scheme)


class _Cluster(RedisCluster):
    """A client of a cluster, that leaves nothing open."""

    async def aclose(self) -> None:
        await super().aclose()  # which does nothing while it has to look up its nodes again
        await self.nodes_manager.aclose()
        await self.nodes_manager.aclose("startup_nodes")


def _sentinel(url: str, settings: dict[str, Any]) -> "_Watched":
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
    # One that is gone, or frozen, must not keep the others from being asked.
    impatient = {
        "socket_timeout": _SENTINEL_ANSWERS,
        "socket_connect_timeout": _SENTINEL_ANSWERS,
        "retry": Retry(NoBackoff(), 0),
    }
    return _Watched(
        watch(sentinels, sentinel_kwargs=impatient),
        service,
        db=int(database or 0),
        username=unquote(username) or None,
        password=unquote(password) or None,
        **settings,
    )


class _Watched:
    """A client of whichever server the sentinels call the master."""

    def __init__(self, sentinel: Any, service: str, **settings: Any) -> None:
        self._sentinel = sentinel
        self._master = sentinel.master_for(service, **settings)
        self.connection_pool: Any = self._master.connection_pool
        self.evalsha = self._master.evalsha
        self.eval = self._master.eval

    async def aclose(self) -> None:
        await self._master.aclose()
        for each in self._sentinel.sentinels:
            await each.aclose()
