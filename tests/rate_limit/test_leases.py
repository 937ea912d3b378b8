"""Leases: what a worker may decide by itself, and by how much that can be wrong."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_guard import ConfigurationError, Quota, RateLimit, Rule
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.rate_limit.stores.redis_counter import RedisCounter
from asgi_guard.shell import Shell
from tests.driver import get, hello
from tests.rate_limit.leasing import LONG, admitted, working
from tests.stores.redis_server import RedisServer, RedisServers

ALGORITHMS: tuple[Algorithm, ...] = ("sliding-window", "fixed-window", "token-bucket")


@pytest.fixture(scope="module")
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server for all examples: each has a rule of its own."""
    return redis_servers.get("redis-8")


async def test_a_leased_unit_takes_no_trip(server: RedisServer) -> None:
    """Ten at once are one question in ten, and the server knows of all of them."""
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(1000, LONG), lease=10)
        before = server.calls("evalsha")
        left = [(await store.hit([(counter, "ann", 1)]))[0].remaining for _ in range(100)]
        assert left == list(range(999, 899, -1))
        assert server.calls("evalsha") - before <= 11  # one more where the script is new


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    count=st.integers(1, 80),
    lease=st.integers(2, 30),
    turns=st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from([1, 1, 2, 7])), min_size=1, max_size=120
    ),
    algorithm=st.sampled_from(ALGORITHMS),
)
def test_no_more_than_the_quota_and_little_less(
    server: RedisServer, count: int, lease: int, turns: list[tuple[int, int]], algorithm: Algorithm
) -> None:
    """Within a window nothing is admitted twice; what others hold is less than a lease for each.

    What was not used comes back when a worker shuts down, so that the rest can be had by others.
    """

    async def run() -> None:
        rule, quota = uuid4().hex, Quota(count, LONG)
        async with working(server, 4) as stores:
            counters = [
                store.counter(rule, quota, algorithm, lease=lease, workers=3) for store in stores
            ]
            total = 0
            for turn, crowd in turns:
                asked = (admitted(stores[turn], counters[turn]) for _ in range(crowd))
                answers = await asyncio.gather(*asked)
                total += sum(answers)
                if not all(answers):
                    assert total >= count - 2 * (lease - 1)
            assert total <= count
            for store in stores[:3]:
                await store.aclose()
            exact = stores[3].counter(rule, quota, algorithm)
            while await admitted(stores[3], exact):
                total += 1
            assert total == count

    asyncio.run(run())


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_window_gets_no_more_than_a_lease_too_much(
    server: RedisServer, algorithm: Algorithm
) -> None:
    """Units of one window may be used in the next: less than a lease for each worker."""
    period, lease, workers = 0.4, 8, 3
    async with working(server, workers) as stores:
        rule, quota = uuid4().hex, Quota(40, period)
        counters = [
            store.counter(rule, quota, algorithm, lease=lease, workers=workers) for store in stores
        ]
        times: list[float] = []

        async def work(store: RedisStore, counter: RedisCounter) -> None:
            end = time.monotonic() + 4 * period
            while time.monotonic() < end:
                asked_at = time.monotonic()
                if await admitted(store, counter):
                    times.append(asked_at)
                await asyncio.sleep(0.003)

        await asyncio.gather(*(work(*each) for each in zip(stores, counters, strict=True)))
        most = max(sum(start <= each < start + period for each in times) for start in times)
        # Twice the quota is what each algorithm may admit in its unluckiest stretch of time.
        assert most <= 2 * 40 + workers * (lease - 1)
        assert len(times) > 40


async def test_a_refusal_costs_no_lease(server: RedisServer) -> None:
    """Neither the units that are there, nor new ones."""
    async with working(server, 1) as (store,):
        leased = store.counter(uuid4().hex, Quota(1000, LONG), lease=10)
        full = store.counter(uuid4().hex, Quota(1, LONG))
        assert await admitted(store, full)
        assert await admitted(store, leased)
        for _ in range(30):
            both = await store.hit([(leased, "ann", 1), (full, "ann", 1)], within=5)
            assert [each.admitted for each in both] == [True, False]
        (left,) = await store.hit([(leased, "ann", 1)])
        assert left.remaining == 998


async def test_a_crowd_asks_for_one_lease(server: RedisServer) -> None:
    """Not for one each."""
    async with working(server, 1) as (store,):
        rule, quota = uuid4().hex, Quota(1000, LONG)
        leased = store.counter(rule, quota, lease=100)
        assert all(await asyncio.gather(*(admitted(store, leased) for _ in range(50))))
        exact = store.counter(rule, quota)
        (left,) = await store.hit([(exact, "ann", 0)])
        assert left.remaining == 1000 - 50 - 99


async def test_who_leaves_takes_no_lease_along(server: RedisServer) -> None:
    """What a request that is cancelled while it asks has taken is there for others."""
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(1000, LONG), lease=10)
        with server.frozen():
            task = asyncio.ensure_future(admitted(store, counter))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        before = server.calls("evalsha")
        assert await admitted(store, counter)  # whose question comes after that one
        assert all([await admitted(store, counter) for _ in range(9)])
        assert server.calls("evalsha") - before <= 3
        await store.end_leases()
        (left,) = await store.hit([(counter, "ann", 0)], within=5)
        assert left.remaining == 1000 - 10 - 1  # the one that was cancelled was charged, as ever


async def test_a_rule_may_have_a_lease(server: RedisServer) -> None:
    """Then most requests do without a trip."""
    rule = Rule("1000/year", lease=10, name=uuid4().hex)
    layer = RateLimitLayer(RateLimit(rule, store=server.url, store_timeout=5.0))
    guarded = Shell(layer, hello, [layer])
    before = server.calls("evalsha")
    for _ in range(100):
        assert (await get().run(guarded)).status == 200
    # Nine or ten units for each, or eight where a refill came before the last two were used.
    assert server.calls("evalsha") - before <= 100 // 8 + 1
    await layer.aclose()


@pytest.mark.parametrize("lease", [-1, 1, 1.5, "2", True])
def test_a_lease_is_of_two_units_at_least(lease: Any) -> None:
    """Or none at all."""
    with pytest.raises(ConfigurationError, match=r"Rule\.lease is .*; allowed: a whole number"):
        Rule("5/hour", lease=lease)


def test_only_redis_grants_leases() -> None:
    """In this process there is nothing to save."""
    with pytest.raises(ConfigurationError, match=r"Rule\.lease is 5; allowed: 0, but for rules"):
        RateLimit(Rule("5/hour", lease=5))


async def test_units_that_do_not_suffice_are_not_lost(server: RedisServer) -> None:
    """They are added to the next lease."""
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(600, LONG), lease=20)
        total = 0
        for cost in (11, 1, 15, 10) * 60:
            (decision,) = await store.hit([(counter, "ann", cost)], within=5)
            total += cost * decision.admitted
        assert total >= 600 - 19 - 15


async def test_who_finds_no_room_for_a_lease_does_without(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost, and nobody is refused for it."""
    monkeypatch.setattr("asgi_guard.rate_limit.stores.leases._MOST", 10)
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(30, LONG), lease=20)
        for _ in range(30):
            asked = (admitted(store, counter, str(client)) for client in range(40))
            assert all(await asyncio.gather(*asked))


async def test_a_store_of_the_users_own_gets_its_leases_back(server: RedisServer) -> None:
    """When the app shuts down, though the store stays open."""
    async with working(server, 1) as (store,):
        rule = Rule("1000/year", lease=20, name=uuid4().hex)
        layer = RateLimitLayer(RateLimit(rule, store=store, store_timeout=5.0))
        assert (await get().run(Shell(layer, hello, [layer]))).status == 200
        await layer.aclose()
        exact = store.counter(rule.label, rule.whole_quota)
        (left,) = await store.hit([(exact, "192.0.2.1", 0)])
        assert left.remaining == 999
