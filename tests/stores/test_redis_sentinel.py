"""That sentinels put a replica in the place of a master that is gone."""

import time
from collections.abc import Iterator

import pytest
import redis
import redis.asyncio
from redis.asyncio.sentinel import Sentinel

from tests.processes import Children, until
from tests.stores.redis_sentinel import MASTER, RedisSentinel
from tests.stores.redis_server import control

FAILED_OVER_WITHIN = 5.0  # seconds


async def test_clients_find_the_master(redis_sentinel: RedisSentinel) -> None:
    """A client asks the sentinel where the master is; the replica takes no writes."""
    sentinel = Sentinel(redis_sentinel.addresses)  # type: ignore[no-untyped-call]
    async with sentinel.master_for(MASTER) as master, sentinel.slave_for(MASTER) as replica:
        assert await master.set("key", "value")
        with pytest.raises(redis.ReadOnlyError):
            await replica.set("key", "value")
    await sentinel.sentinels[0].aclose()


def test_a_lost_master_is_replaced(redis_sentinel: RedisSentinel) -> None:
    """Within seconds another server is the master, and it takes writes."""
    loses_its_master(redis_sentinel)


@pytest.fixture
def three(children: Children) -> Iterator[RedisSentinel]:
    """Return three sentinels that must agree."""
    sentinels = RedisSentinel(children, "redis-agreed", sentinels=3)
    yield sentinels
    sentinels.stop()


def test_three_sentinels_agree(three: RedisSentinel) -> None:
    """The most of them decide, and all of them know."""
    loses_its_master(three)
    ports = {server.port for server in three.servers if server.process.poll() is None}
    until(lambda: {each.master_port() for each in three.sentinels} == ports)


def loses_its_master(sentinel: RedisSentinel) -> None:
    """Kill the master, and see another in its place in time."""
    old = sentinel.master_port()
    with control(old) as connection:
        connection.set("key", "value")
        connection.wait(1, 1000)
    began = time.monotonic()
    sentinel.kill_master()
    until(lambda: sentinel.master_port() != old, within=FAILED_OVER_WITHIN)
    with control(sentinel.master_port()) as connection:
        until(lambda: connection.set("other", "value"), within=FAILED_OVER_WITHIN)
        assert connection.get("key") == "value"
    assert time.monotonic() - began < FAILED_OVER_WITHIN
