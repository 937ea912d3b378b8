"""That the memcached is what tests of a shared store need."""

import asyncio
from contextlib import closing

import memcachio
import pytest
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemcachedStorage
from limits.aio.strategies import FixedWindowRateLimiter

from tests.processes import HOST
from tests.stores.memcached_server import MemcachedServer


@pytest.mark.parametrize("turn", ["first", "second"])
async def test_each_test_has_it_empty(memcached_server: MemcachedServer, turn: str) -> None:
    """What is set can be read, and is gone in the next test."""
    client = memcachio.Client((HOST, memcached_server.port), decode_responses=True)
    assert await client.get("key") == {}
    assert await client.set("key", "value")
    (found,) = (await client.get("key")).values()
    assert found.value == "value"


async def test_limits_can_count_in_it(memcached_server: MemcachedServer) -> None:
    """The async storage of limits works with it."""
    limiter = FixedWindowRateLimiter(MemcachedStorage(f"async+{memcached_server.url}"))
    item = RateLimitItemPerMinute(2)
    assert [await limiter.hit(item, "client") for _ in range(3)] == [True, True, False]


async def test_frozen_it_does_not_answer(memcached_server: MemcachedServer) -> None:
    """It says nothing until it is thawed."""
    reader, writer = await asyncio.open_connection(HOST, memcached_server.port)
    with closing(writer):
        with memcached_server.frozen():
            writer.write(b"version\r\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.2)
        assert (await reader.readline()).startswith(b"VERSION ")


def test_killed_it_is_mended(memcached_server: MemcachedServer) -> None:
    """A dead one is served again on the same port."""
    port = memcached_server.port
    memcached_server.kill()
    memcached_server.mend()
    assert memcached_server.port == port
