"""That each fault is the one it is called, to a real client of a real server."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.faults.proxy import FaultProxy, ThreadedProxy, proxy_in_thread
from tests.processes import EARLY, HOST, until
from tests.stores.redis_server import RedisServer, RedisServers

TIMEOUT = 0.3  # seconds
SOON = 2.0


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    """Run the proxy on both loops."""
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server, empty."""
    return redis_servers.get("redis-8")


@pytest.fixture
async def proxy(server: RedisServer) -> AsyncIterator[FaultProxy]:
    """Return a proxy before it, in the loop of the test."""
    async with FaultProxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: FaultProxy) -> AsyncIterator["redis.asyncio.Redis"]:
    """Return a client that is connected through the proxy."""
    async with redis.asyncio.Redis(
        host=HOST, port=proxy.port, socket_timeout=TIMEOUT, retry=AsyncRetry(NoBackoff(), 0)
    ) as client:
        assert await client.ping()
        yield client


@pytest.fixture
def threaded(server: RedisServer) -> Iterator[ThreadedProxy]:
    """Return a proxy in a thread."""
    with proxy_in_thread(server.port) as proxy:
        yield proxy


async def test_it_passes_everything_on(client: "redis.asyncio.Redis") -> None:
    """Values of many chunks arrive whole, both ways."""
    value = bytes(range(256)) * 4096
    await client.set("key", value)
    assert await client.get("key") == value


async def test_latency_is_added_each_way(client: "redis.asyncio.Redis", proxy: FaultProxy) -> None:
    """An answer takes twice as long, until it is healed."""
    proxy.latency = 0.05
    began = time.monotonic()
    await client.ping()
    assert 0.1 - EARLY <= time.monotonic() - began < SOON
    proxy.heal()
    assert proxy.latency == 0


async def test_silence_is_a_timeout(client: "redis.asyncio.Redis", proxy: FaultProxy) -> None:
    """Nothing answers, on connections old and new; what was said then is passed on later."""
    proxy.silence()
    for _ in range(2):  # a client closes the connection that timed out
        began = time.monotonic()
        with pytest.raises(redis.TimeoutError):
            await client.incr("key")
        assert TIMEOUT - EARLY <= time.monotonic() - began < SOON
    proxy.heal()
    assert await client.ping()
    await comes_true(client.keys)


async def test_a_reset_is_seen_at_once(proxy: FaultProxy) -> None:
    """Who waits for an answer gets a reset and no end of file; the next connection is taken."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    waiting = asyncio.ensure_future(reader.read(1))
    await until_open(proxy, 1)
    await proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(waiting, SOON)
    writer.close()
    await until_open(proxy, 0)
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    writer.write(b"PING\r\n")
    assert await reader.readline() == b"+PONG\r\n"
    writer.close()


async def test_silence_can_end_in_a_reset(proxy: FaultProxy) -> None:
    """Connections that are kept waiting are reset as well."""
    reader, writer = await asyncio.open_connection(HOST, proxy.port)
    await until_open(proxy, 1)
    proxy.silence()
    writer.write(b"PING\r\n")
    await asyncio.sleep(0.05)
    await proxy.reset()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON)
    writer.close()
    await until_open(proxy, 0)


async def test_refused_until_it_starts(client: "redis.asyncio.Redis", proxy: FaultProxy) -> None:
    """No connection is taken, and open ones are gone; then the same port serves again."""
    port = proxy.port
    await proxy.refuse()
    # On uvloop, redis-py lets a RuntimeError through when it writes to a connection that is gone.
    for expected in ((redis.ConnectionError, RuntimeError), redis.ConnectionError):
        began = time.monotonic()
        with pytest.raises(expected):
            await client.ping()
        assert time.monotonic() - began < SOON
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
    await proxy.start()
    await proxy.start()
    assert proxy.port == port
    assert await client.ping()


async def test_a_dead_server_is_a_closed_connection(
    client: "redis.asyncio.Redis", server: RedisServer
) -> None:
    """What the server does to a connection, the client sees; a new one works again."""
    server.kill()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            await client.ping()
    server.restart()
    assert await client.ping()


async def test_it_leaves_nothing_open(server: RedisServer) -> None:
    """At its end connections are reset, whatever state they are in."""
    async with FaultProxy(server.port) as proxy:
        reader, writer = await asyncio.open_connection(HOST, proxy.port)
        await until_open(proxy, 1)
        proxy.silence()
        writer.write(b"PING\r\n")
    assert proxy.connections == 0
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), SOON)
    writer.close()


def test_from_a_thread_it_does_the_same(threaded: ThreadedProxy) -> None:
    """A client that blocks sees every fault."""
    with redis.Redis(
        host=HOST, port=threaded.port, socket_timeout=TIMEOUT, retry=Retry(NoBackoff(), 0)
    ) as client:
        assert client.ping()
        threaded.silence()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        threaded.heal()
        assert client.ping()
        with socket.create_connection((HOST, threaded.port)) as other:
            other.settimeout(SOON)
            until(lambda: threaded.connections == 2)
            threaded.reset()
            with pytest.raises(ConnectionResetError):
                other.recv(1)
        assert client.ping()
        threaded.refuse()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.ping()
        threaded.start()
        threaded.latency = 0.05
        began = time.monotonic()
        assert client.ping()
        assert time.monotonic() - began >= 2 * threaded.latency - EARLY


def test_another_process_goes_through_it(threaded: ThreadedProxy) -> None:
    """A client elsewhere sees what this test tells the proxy."""
    words = "import sys, socket; s = socket.create_connection(('{}', {})); s.recv(1)"
    command = [sys.executable, "-c", words.format(HOST, threaded.port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        until(lambda: threaded.connections == 1, within=SOON * 5)
        threaded.reset()
        _, said = process.communicate(timeout=SOON * 5)
    assert b"ConnectionResetError" in said


async def until_open(proxy: FaultProxy, number: int) -> None:
    """Wait until so many connections are open."""

    async def has() -> bool:
        return proxy.connections == number

    await comes_true(has)


async def comes_true(ask: Callable[[], Awaitable[object]]) -> None:
    """Ask until the answer is true."""
    for _ in range(100):
        if await ask():
            return
        await asyncio.sleep(SOON / 100)
    pytest.fail("it did not come true")
