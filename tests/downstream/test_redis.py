"""Clients of redis-py behind breakers, on a real Redis that is frozen, killed and brought back."""

import inspect
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import pytest
import redis
import redis.asyncio
from anyio import to_thread
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, MaxConnectionsError, ResponseError, WatchError
from redis.retry import Retry

from asgi_guard import CircuitBreaker, CircuitOpen, ConfigurationError
from asgi_guard.downstream.redis import guard_redis
from asgi_guard.testing import FakeClock
from tests.downstream.conftest import LOOPS, breaker, counts
from tests.processes import Children
from tests.stores.redis_cluster import RedisCluster
from tests.stores.redis_server import RedisServer

AT_ONCE = 0.5  # seconds: less than a connection may be silent
SILENT = 1.0
CROWD = 20
COMBINED = [("asyncio", "asyncio"), ("asyncio", "uvloop"), ("sync", "asyncio")]


@pytest.fixture(scope="module")
def shared_server(children: Children) -> RedisServer:
    """Return a server of our own, which may be frozen and killed."""
    return RedisServer(children, "redis-behind-a-breaker")


@pytest.fixture
def server(shared_server: RedisServer) -> Iterator[RedisServer]:
    """Return that server, empty, and thawed afterwards."""
    shared_server.mend()
    yield shared_server
    shared_server.revive()


@pytest.fixture(params=COMBINED, ids="-".join)
def combined(request: pytest.FixtureRequest) -> Any:
    """Return a kind of client, and the loop it runs on."""
    return request.param


@pytest.fixture
def anyio_backend(combined: tuple[str, str]) -> Any:
    """Run on that loop."""
    return LOOPS[combined[1]]


class Cache:
    """A client, sync or asyncio, asked in the same way."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.waits = kind == "asyncio"
        made: Any = redis.asyncio.Redis if self.waits else redis.Redis
        retry = (AsyncRetry if self.waits else Retry)(NoBackoff(), 0)
        settings = {"socket_timeout": SILENT, "socket_connect_timeout": SILENT, "retry": retry}
        self.client: Any = made.from_url(url, **{**settings, **options})

    async def ask(self, question: Callable[[Any], Any]) -> Any:
        """Ask the client something: in a thread, if it blocks."""
        if not self.waits:
            return await to_thread.run_sync(question, self.client)
        answer = question(self.client)
        return await answer if inspect.isawaitable(answer) else answer

    async def incr(self) -> Any:
        """Send one command."""
        return await self.ask(lambda client: client.incr("n"))

    async def close(self) -> None:
        """Close all connections."""
        if self.waits:
            await self.client.aclose()
        else:
            self.client.close()


@pytest.fixture
async def cache(combined: tuple[str, str], server: RedisServer) -> AsyncIterator[Cache]:
    """Return a client that is not guarded yet."""
    cache = Cache(combined[0], server.url)
    yield cache
    await cache.close()


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


async def test_commands(cache: Cache, shop: CircuitBreaker) -> None:
    """Each is a call; an error that the server answers with shows that it is well."""
    guard_redis(cache.client, shop)
    assert await cache.incr() == 1
    assert counts(shop) == (1, 0, 0, 0)
    with pytest.raises(ResponseError):
        await cache.ask(lambda client: client.lpush("n", 1))
    assert counts(shop) == (2, 0, 0, 0)
    with pytest.raises(redis.DataError):
        await cache.ask(lambda client: client.set("n", {}))
    assert counts(shop) == (2, 0, 1, 0)


async def test_pipelines(cache: Cache, shop: CircuitBreaker) -> None:
    """One is a call, however many commands it holds, with the scripts that it loads."""
    guard_redis(cache.client, shop)
    assert await cache.ask(several if cache.waits else several_plainly) == [1, 2, 7]
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_pipeline_with_scripts_as_a_trial(
    cache: Cache, shop: CircuitBreaker, clock: FakeClock
) -> None:
    """It needs one trial, whatever it sends before it executes."""
    guard_redis(cache.client, shop)
    for _ in range(3):
        shop.attempt().failure()
    clock.advance(5.0)
    assert await cache.ask(several if cache.waits else several_plainly) == [1, 2, 7]
    assert counts(shop) == (1, 3, 0, 0)


async def test_transactions(cache: Cache, shop: CircuitBreaker, server: RedisServer) -> None:
    """What is watched and has changed is an answer that says nothing."""
    guard_redis(cache.client, shop)

    async def watch(client: Any) -> None:
        async with client.pipeline() as pipe:
            await pipe.watch("n")
            with server.control() as other:
                other.incr("n")
            pipe.multi()
            pipe.incr("n")
            await pipe.execute()

    def watch_plainly(client: Any) -> None:
        with client.pipeline() as pipe:
            pipe.watch("n")
            with server.control() as other:
                other.incr("n")
            pipe.multi()
            pipe.incr("n")
            pipe.execute()

    with pytest.raises(WatchError):
        await cache.ask(watch if cache.waits else watch_plainly)
    assert counts(shop) == (1, 0, 1, 0)  # WATCH was sent at once


async def test_pipelines_are_refused(cache: Cache, shop: CircuitBreaker) -> None:
    """As commands are, and their connections go back."""
    guard_redis(cache.client, shop)
    shop.force_open()
    with pytest.raises(CircuitOpen):
        await cache.ask(several if cache.waits else several_plainly)
    shop.close()
    assert await cache.incr() == 1


async def test_a_password_that_is_refused(
    combined: tuple[str, str], server: RedisServer, shop: CircuitBreaker
) -> None:
    """To redis-py it is a connection error; to the breaker nothing."""
    with server.control() as control:
        control.config_set("requirepass", "tell-nobody")
        cache = Cache(combined[0], server.url, password="wrong")
        try:
            guard_redis(cache.client, shop)
            with pytest.raises(AuthenticationError):
                await cache.incr()
        finally:
            control.auth("tell-nobody")
            control.config_set("requirepass", "")
            await cache.close()
    assert counts(shop) == (0, 0, 1, 0)


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_pool_that_is_full(
    combined: tuple[str, str], server: RedisServer, shop: CircuitBreaker, blocking: bool
) -> None:
    """It is ours, whether one waits for it or not."""
    waits = combined[0] == "asyncio"
    library: Any = redis.asyncio if waits else redis
    kind = library.BlockingConnectionPool if blocking else library.ConnectionPool
    patience = {"timeout": 0.1} if blocking else {}
    pool = kind.from_url(server.url, max_connections=1, **patience)
    cache = Cache(combined[0], server.url)
    full = Cache(combined[0], server.url)
    full.client = library.Redis(connection_pool=pool)
    held = await full.ask(lambda client: client.connection_pool.get_connection())
    guard_redis(full.client, shop)
    expected = redis.exceptions.ConnectionError if blocking else MaxConnectionsError
    with pytest.raises(expected):
        await full.incr()
    assert counts(shop) == (0, 0, 1, 0)
    await full.ask(lambda client: client.connection_pool.release(held))
    assert await full.incr() == 1
    await full.ask(lambda client: client.connection_pool.disconnect())
    await cache.close()


async def test_a_frozen_server(
    cache: Cache, shop: CircuitBreaker, server: RedisServer, clock: FakeClock
) -> None:
    """Timeouts trip it; then calls fail at once; thawed, it is asked by one, and then by all."""
    guard_redis(cache.client, shop)
    assert await crowd(cache) == CROWD
    with server.frozen():
        assert await crowd(cache) == 0
        assert shop.state.value == "open"
        refused = counts(shop)[3]
        began = time.monotonic()
        assert await crowd(cache) == 0
        assert time.monotonic() - began < AT_ONCE
        assert counts(shop)[3] == refused + CROWD
        clock.advance(5.0)
        failures = counts(shop)[1]
        assert await crowd(cache) == 0
        assert counts(shop)[1] == failures + 1  # one has tried, and waited
    await to_thread.run_sync(server.calls, "incrby")  # it has done what it was asked meanwhile
    clock.advance(10.0)
    while shop.state.value != "closed":
        assert await crowd(cache) >= 1
    assert await crowd(cache) == CROWD


async def test_trials_are_one_at_a_time(
    cache: Cache, shop: CircuitBreaker, server: RedisServer, clock: FakeClock
) -> None:
    """As the server counts them: a server that comes back is not run over."""
    guard_redis(cache.client, shop)
    server.kill()
    while shop.state.value != "open":
        assert await crowd(cache) == 0
    server.restart()
    assert await crowd(cache) == 0
    assert server.calls("blpop") == 0
    clock.advance(5.0)
    for trials in (1, 2):
        assert await crowd(cache, lambda client: client.blpop("nothing", 0.2)) == 1
        assert server.calls("blpop") == trials
    assert shop.state.value == "closed"
    assert await crowd(cache) == CROWD


async def test_retries_are_one_call(
    combined: tuple[str, str], server: RedisServer, shop: CircuitBreaker
) -> None:
    """What redis-py tries again is counted when it has given up."""
    waits = combined[0] == "asyncio"
    retry = (AsyncRetry if waits else Retry)(NoBackoff(), 3)
    cache = Cache(combined[0], server.url, retry=retry)
    guard_redis(cache.client, shop)
    server.kill()
    with pytest.raises(redis.exceptions.ConnectionError):
        await cache.incr()
    assert counts(shop) == (0, 1, 0, 0)
    await cache.close()


async def test_whoever_gives_up(cache: Cache, shop: CircuitBreaker, server: RedisServer) -> None:
    """A command that is cancelled says nothing."""
    if not cache.waits:
        return  # a thread cannot be cancelled
    guard_redis(cache.client, shop)
    with server.frozen(), anyio.move_on_after(0.1):
        await cache.incr()
    assert counts(shop) == (0, 0, 1, 0)


async def test_detached(cache: Cache, shop: CircuitBreaker) -> None:
    """Then the client is as it was."""
    before = dict(vars(cache.client))
    detach = guard_redis(cache.client, shop)
    detach()
    assert vars(cache.client) == before
    shop.force_open()
    assert await cache.incr() == 1


async def test_guarded_twice(cache: Cache, shop: CircuitBreaker) -> None:
    """By the same breaker it is guarded once; another one has to wait until it is left alone."""
    detach = guard_redis(cache.client, shop)
    assert guard_redis(cache.client, shop) is detach
    assert await cache.incr() == 1
    assert counts(shop) == (1, 0, 0, 0)
    other = CircuitBreaker("other")
    with pytest.raises(
        ConfigurationError, match=r"the one that guards this client already \(shop\)"
    ):
        guard_redis(cache.client, other)
    detach()
    guard_redis(cache.client, other)
    detach()  # once more: it is no longer its business
    assert await cache.incr() == 2
    assert (counts(shop), counts(other)) == ((1, 0, 0, 0), (1, 0, 0, 0))


async def test_a_cluster(
    combined: tuple[str, str], redis_cluster: RedisCluster, shop: CircuitBreaker
) -> None:
    """Its clients are guarded in the same way."""
    waits = combined[0] == "asyncio"
    library: Any = redis.asyncio if waits else redis
    cache = Cache(combined[0], "redis://127.0.0.1:1")
    await cache.close()
    host, _, port = redis_cluster.url.rpartition("//")[2].partition(":")
    cache.client = library.RedisCluster(host=host, port=int(port))
    guard_redis(cache.client, shop)
    assert await cache.incr() == 1
    assert counts(shop) == (1, 0, 0, 0)
    shop.force_open()
    with pytest.raises(CircuitOpen):
        await cache.incr()
    await cache.close()


def test_what_is_no_client(shop: CircuitBreaker) -> None:
    """It is said at once, without what it is: it may hold a password."""
    wrong: Any = "redis://:secret@localhost/"
    with pytest.raises(ConfigurationError, match="a client of redis") as refused:
        guard_redis(wrong, shop)
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="a client of redis"):
        guard_redis(redis.Redis, shop)
    with pytest.raises(ConfigurationError, match="a CircuitBreaker"):
        guard_redis(redis.Redis(), wrong)


async def crowd(cache: Cache, question: Callable[[Any], Any] | None = None) -> int:
    """Let many ask at once; return how many were answered."""
    answered = 0

    async def ask() -> None:
        nonlocal answered
        try:
            await cache.ask(question or (lambda client: client.incr("n")))
        except (CircuitOpen, redis.RedisError, OSError):
            return
        answered += 1

    async with anyio.create_task_group() as group:
        for _ in range(CROWD):
            group.start_soon(ask)
    return answered


async def several(client: Any) -> Any:
    """Execute a pipeline that has a script to load."""
    async with client.pipeline() as pipe:
        pipe.incr("n").incr("n")
        await client.register_script("return 7")(client=pipe)
        return await pipe.execute()


def several_plainly(client: Any) -> Any:
    """Execute it on a client that blocks."""
    with client.pipeline() as pipe:
        pipe.incr("n").incr("n")
        client.register_script("return 7")(client=pipe)
        return pipe.execute()
