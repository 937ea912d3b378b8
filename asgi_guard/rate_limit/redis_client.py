"""Clients of redis-py, by URL: one server, a cluster, or whatever sentinels watch."""

from collections.abc import Callable, Sequence
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


def is_unknown_script(error: Exception) -> bool:
    """Tell whether a server does not know the script; clients have an error of their own for it."""
    return type(error).__name__ == "NoScriptError"


def direct(client: Client) -> Client:
    """Return what does less for each command, where the client is one of a single server.

    A command of redis-py takes a connection out of a pool, looks whether it is alive, and knows
    what to do with each kind of answer and how to try again: half of what a question costs here.
    """
    pool = getattr(client, "connection_pool", None)
    return client if pool is None else Direct(pool)


class Direct:
    """One connection of a pool's own making, for one command at a time.

    Args:
        pool: The pool of a client of redis.asyncio or valkey.asyncio.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._connection: Any = None

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that the server knows."""
        return await self._ask("EVALSHA", sha, numkeys, *keys_and_args)

    async def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script, and let the server know it."""
        return await self._ask("EVAL", script, numkeys, *keys_and_args)

    async def aclose(self) -> None:
        """Close the connection, and nothing of the pool's."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _ask(self, *command: Any) -> Any:
        if self._connection is not None:
            try:
                return await self._say(command)
            except Exception as error:
                if not _is_lost(error):  # while it lay idle: once more, on a new one
                    raise
        self._connection = self._pool.make_connection()
        return await self._say(command, connect=True)

    async def _say(self, command: Sequence[Any], *, connect: bool = False) -> Any:
        connection = self._connection
        try:
            if connect:
                await connection.connect()
            packed = connection.pack_command(*command)
            await connection.send_packed_command(packed, check_health=False)
            return await connection.read_response()
        except BaseException as error:
            if not _is_answer(error):
                await self.aclose()
            raise


def _is_answer(error: BaseException) -> bool:
    """Tell whether this is what the server has said, on a connection that is in order."""
    return any(kind.__name__ == "ResponseError" for kind in type(error).__mro__)


def _is_lost(error: Exception) -> bool:
    """Tell whether a connection was closed while it lay idle; uvloop says RuntimeError of that."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return "ConnectionError" in kinds or isinstance(error, RuntimeError)
