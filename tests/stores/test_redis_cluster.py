"""That the cluster is what tests of a shared store need."""

import pytest
import redis.asyncio
from redis.exceptions import RedisClusterException, ResponseError

from tests.stores.redis_cluster import RedisCluster

KEYS = [f"key-{number}" for number in range(100)]


async def test_it_answers_on_all_nodes(redis_cluster: RedisCluster) -> None:
    """A client that knows one node reaches all, and each has its share of the keys."""
    async with redis.asyncio.RedisCluster.from_url(redis_cluster.url) as client:
        for key in KEYS:
            await client.set(key, key)
        assert [await client.get(key) for key in KEYS] == [key.encode() for key in KEYS]
    assert redis_cluster.calls("set") == len(KEYS)
    assert all(node.calls("set") > 0 for node in redis_cluster.nodes)


async def test_scripts_stay_in_one_slot(redis_cluster: RedisCluster) -> None:
    """Keys with one hash tag may be used together, others not."""
    script = "return #KEYS"
    async with redis.asyncio.RedisCluster.from_url(redis_cluster.url) as client:
        assert await client.eval(script, 2, "{tag}:one", "{tag}:two") == 2
        with pytest.raises((RedisClusterException, ResponseError)):
            await client.eval(script, 2, *KEYS[:2])


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_it_empty(redis_cluster: RedisCluster, turn: str) -> None:
    """Neither keys nor counts are left over from another test, on any node."""
    assert redis_cluster.calls("set") == 0
    with redis.RedisCluster.from_url(redis_cluster.url) as client:
        for key in KEYS:
            assert client.get(key) is None
            client.set(key, key)


def test_harm_is_mended(redis_cluster: RedisCluster) -> None:
    """What a test leaves frozen and dead, the next one finds whole."""
    first, second, _ = redis_cluster.nodes
    first.freeze()
    second.kill()
    redis_cluster.mend()
    with redis.RedisCluster.from_url(redis_cluster.url) as client:
        assert all(client.set(key, key) for key in KEYS)
