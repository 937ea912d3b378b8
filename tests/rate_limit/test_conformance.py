"""The conformance kit, on every store that there is."""

import asyncio
import time

import pytest

from asgi_guard import MemoryStore, Quota, StoreUnavailable
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.stores.limits import LimitsStore
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.testing import STORE_CHECKS, StoreCheck, store_checks
from asgi_guard.testing.stores import Need
from tests.stores.memcached_server import MemcachedServer
from tests.stores.redis_cluster import RedisCluster
from tests.stores.redis_sentinel import MASTER, RedisSentinel
from tests.stores.redis_server import RedisServer

CHECKS = store_checks("sliding-window", "fixed-window", "token-bucket")
NOT_IN_LIMITS: set[Need] = {"atomic", "sub-second", "bans"}
IN_MEMCACHED = store_checks("sliding-window", "fixed-window", without=NOT_IN_LIMITS)
IN_LIMITS = IN_MEMCACHED + store_checks("moving-window", without=NOT_IN_LIMITS)


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


async def conforms_by_limits(url: str, check: StoreCheck, algorithm: Algorithm) -> None:
    """Put a storage of `limits` through a check."""
    store = LimitsStore(url)
    try:
        await check(store, algorithm)
    finally:
        await store.aclose()


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in IN_LIMITS], ids=[case[0] for case in IN_LIMITS]
)
async def test_the_memory_of_limits_conforms(check: StoreCheck, algorithm: Algorithm) -> None:
    """In all that it promises."""
    await conforms_by_limits("async+memory://", check, algorithm)


@pytest.mark.parametrize(
    ("check", "algorithm"),
    [case[1:] for case in IN_MEMCACHED],
    ids=[case[0] for case in IN_MEMCACHED],
)
async def test_memcached_conforms(
    check: StoreCheck, algorithm: Algorithm, memcached_server: MemcachedServer
) -> None:
    """In all that it promises, through `limits`."""
    await conforms_by_limits(f"async+{memcached_server.url}", check, algorithm)


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in IN_LIMITS], ids=[case[0] for case in IN_LIMITS]
)
async def test_redis_conforms_by_limits(
    check: StoreCheck, algorithm: Algorithm, redis_server: RedisServer
) -> None:
    """As far as `limits` goes; who wants all of it has a store of ours."""
    await conforms_by_limits(f"async+{redis_server.url}", check, algorithm)


def test_what_storages_of_limits_are_not_asked() -> None:
    """All that they do not promise, and nothing else."""
    asked = {check for _, check, _ in IN_LIMITS}
    assert {check.__name__ for check in STORE_CHECKS if check not in asked} == {
        "admits_the_count_to_a_crowd",
        "bans_after_so_many_refusals",
        "bans_for_longer_each_time",
        "bans_whatever_the_quota_says",
        "charges_all_rules_or_none_in_a_crowd",
        "charges_nothing_for_who_is_banned",
        "counts_a_refusal_that_others_share",
        "counts_in_any_size",
        "counts_no_look",
        "counts_refusals_anew",
        "ends_a_ban_when_it_was_told",
        "forgets_what_is_over",
        "tells_how_long_to_wait",
        "waits_for_ban_and_quota",
    }
    assert len(IN_LIMITS) == 3 * (len(STORE_CHECKS) - 14)
    assert len(CHECKS) == 3 * len(STORE_CHECKS)


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
