"""The conformance kit, on every store that there is."""

import asyncio
import time

import pytest

from asgi_guard import MemoryStore, Quota, StoreUnavailable
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.redis import RedisStore
from asgi_guard.testing import StoreCheck, store_checks
from tests.stores.redis_cluster import RedisCluster
from tests.stores.redis_sentinel import MASTER, RedisSentinel
from tests.stores.redis_server import RedisServer

CHECKS = store_checks("sliding-window", "fixed-window", "token-bucket")


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in CHECKS], ids=[case[0] for case in CHECKS]
)
async def test_the_memory_store_conforms(check: StoreCheck, algorithm: Algorithm) -> None:
    """Alone in its process."""
    await check(MemoryStore(), algorithm)


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in CHECKS], ids=[case[0] for case in CHECKS]
)
async def test_the_redis_store_conforms(
    check: StoreCheck, algorithm: Algorithm, redis_server: RedisServer
) -> None:
    """On Redis 8, Valkey 9 and Redis 7."""
    store = RedisStore(redis_server.url)
    try:
        await check(store, algorithm)
    finally:
        await store.aclose()


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in CHECKS], ids=[case[0] for case in CHECKS]
)
async def test_the_redis_store_conforms_on_a_cluster(
    check: StoreCheck, algorithm: Algorithm, redis_cluster: RedisCluster
) -> None:
    """Of three nodes."""
    store = RedisStore(redis_cluster.url.replace("redis://", "redis+cluster://"))
    try:
        await check(store, algorithm)
    finally:
        await store.aclose()


async def test_the_redis_store_conforms_before_and_after_a_failover(
    redis_sentinel: RedisSentinel,
) -> None:
    """Behind a sentinel; meanwhile it says that there is no answer, and nothing else."""
    hosts = ",".join(f"{host}:{port}" for host, port in redis_sentinel.addresses)
    store = RedisStore(f"redis+sentinel://{hosts}/{MASTER}")
    try:
        for _, check, algorithm in store_checks("sliding-window"):
            await check(store, algorithm)
        redis_sentinel.kill_master()
        counter = store.counter("during", Quota(10**6, 1e7))
        answered, deadline = 0, time.monotonic() + 15
        while answered < 20:
            assert time.monotonic() < deadline
            try:
                await store.hit([(counter, "a", 1)], within=0.2)
                answered += 1
            except StoreUnavailable:
                await asyncio.sleep(0.05)
        for _, check, algorithm in store_checks("sliding-window"):
            await check(store, algorithm)
    finally:
        await store.aclose()
