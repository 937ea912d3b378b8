"""The Redis store: one trip, together, in any loop, and over what a server forgets."""

import asyncio
from typing import Any

import pytest
import valkey.asyncio
from asgi_lifespan import LifespanManager
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_guard import (
    ConfigurationError,
    Quota,
    RateLimit,
    RateLimiter,
    Rule,
    StoreUnavailable,
)
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.stores.redis import RedisStore
from tests.driver import get, hello
from tests.stores.redis_server import RedisServer

LONG = Quota(100, 1e7)  # the windows of a server's clock should not end in a test


async def ask(store: RedisStore, rules: int = 1, key: str = "ann") -> list[int]:
    """Charge some rules at once; return what remains of each."""
    counters = [store.counter(f"rule-{number}", LONG) for number in range(rules)]
    return [each.remaining for each in await store.hit([(each, key, 1) for each in counters])]


@pytest.mark.parametrize("rules", [1, 3, 10])
async def test_any_number_of_rules_takes_one_trip(redis_server: RedisServer, rules: int) -> None:
    """Counted by the server, once it knows the script."""
    store = RedisStore(redis_server.url)
    await ask(store, rules)
    before = commands(redis_server)
    for number in range(5):
        assert await ask(store, rules) == [98 - number] * rules
    assert commands(redis_server) - before == 5
    await store.aclose()


def commands(server: RedisServer) -> int:
    """Return how many commands clients have sent, without those of scripts."""
    return server.calls("evalsha") + server.calls("eval")


async def test_requests_at_the_same_time_travel_together(redis_server: RedisServer) -> None:
    """Over one connection, in few commands, and each gets its own answer."""
    others = redis_server.connections()
    store = RedisStore(redis_server.url)
    await ask(store)
    before = commands(redis_server)
    together = await asyncio.gather(*(ask(store, 2, f"client-{n % 50}") for n in range(500)))
    assert commands(redis_server) - before <= 500 / 64 + 2
    assert sorted(left for left, _ in together) == [
        each for each in range(90, 100) for _ in "5" * 50
    ]
    assert redis_server.connections() == others + 1
    await store.aclose()


async def test_a_forgotten_script_is_sent_again(redis_server: RedisServer) -> None:
    """After a restart the server knows no script: nothing fails, and counting goes on."""
    store = RedisStore(redis_server.url)
    assert await ask(store) == [99]
    with redis_server.control() as control:
        control.script_flush()
    assert await ask(store) == [98]
    assert redis_server.calls("eval") == 2
    await store.aclose()


def test_it_works_in_one_loop_after_another(redis_server: RedisServer) -> None:
    """Each has a connection of its own."""
    store = RedisStore(redis_server.url)

    async def once() -> list[int]:
        left = await ask(store)
        await store.aclose()
        return left

    assert [asyncio.run(once()) for _ in range(3)] == [[99], [98], [97]]


async def test_it_works_over_a_unix_socket(redis_server: RedisServer) -> None:
    """As redis-py reads such URLs."""
    store = RedisStore(redis_server.unix_url)
    assert await ask(store) == [99]
    await store.aclose()


async def test_a_client_of_the_users_own_stays_open(redis_server: RedisServer) -> None:
    """It is used, and closed by nobody else."""
    async with Redis.from_url(redis_server.url) as client:
        store = RedisStore(client)
        assert await ask(store) == [99]
        await store.aclose()
        assert await client.ping()


async def test_a_client_of_valkey_will_do(redis_server: RedisServer) -> None:
    """It has errors of its own."""
    async with valkey.asyncio.Valkey.from_url(redis_server.url) as client:
        store = RedisStore(client)
        assert [await ask(store) for _ in range(3)] == [[99], [98], [97]]
        with redis_server.control() as control:
            control.script_flush()
        assert await ask(store) == [96]
        await store.aclose()


async def test_a_connection_that_was_closed_meanwhile_is_made_again(
    redis_server: RedisServer,
) -> None:
    """Servers close what lies idle: nobody notices."""
    store = RedisStore(redis_server.url)
    for left in (99, 98, 97):
        assert await ask(store) == [left]
        with redis_server.control() as control:
            control.client_kill_filter(_type="normal", skipme=True)
    await store.aclose()


async def test_workers_share_their_counters(redis_server: RedisServer) -> None:
    """Whoever uses the same server and prefix."""
    first, second = RedisStore(redis_server.url), RedisStore(redis_server.url)
    other = RedisStore(redis_server.url, prefix="other")
    assert [await ask(store) for store in (first, second, other)] == [[99], [98], [99]]
    for store in (first, second, other):
        await store.aclose()


async def test_what_is_kept_is_small_and_expires(redis_server: RedisServer) -> None:
    """A short value under a name that tells rule and key, with an end."""
    store = RedisStore(redis_server.url)
    for algorithm in ("sliding-window", "fixed-window", "token-bucket"):
        await store.hit([(store.counter(f"a:{algorithm}", LONG, algorithm), "ann", 1)])
    with redis_server.control() as control:
        names: Any = control.keys("*")
        assert sorted(names) == [
            "{asgi_guard}:a%3Afixed-window:2:10000000.0:ann",
            "{asgi_guard}:a%3Asliding-window:1:10000000.0:ann",
            "{asgi_guard}:a%3Atoken-bucket:3:10000000.0:ann",
        ]
        for name in names:
            time_left: Any = control.pttl(name)
            assert 0 < time_left <= 20_000_000_002
            memory: Any = control.memory_usage(name)
            assert memory < 200
    await store.aclose()


async def test_who_asks_a_closed_store_is_told(redis_server: RedisServer) -> None:
    """Also who waits for an answer when it is closed; asked again, it connects again."""
    store = RedisStore(redis_server.url)
    await ask(store)
    with redis_server.frozen():
        waiting = asyncio.ensure_future(ask(store))
        await asyncio.sleep(0.05)
        await store.aclose()
        with pytest.raises(StoreUnavailable, match="closed"):
            await waiting
    assert await ask(store)
    await store.aclose()


async def test_a_rate_limit_counts_there(redis_server: RedisServer) -> None:
    """By its URL; two apps are two workers. At shutdown they leave nothing open."""
    others = redis_server.connections()
    settings = RateLimit("3/year", Rule("2/year", path="/login"), store=redis_server.url)
    workers = [settings(Starlette(routes=[Mount("/", hello)])) for _ in range(2)]
    async with LifespanManager(workers[0]), LifespanManager(workers[1]):
        statuses = [(await get("/login").run(workers[turn % 2])).status for turn in range(4)]
        assert statuses == [200, 200, 429, 429]
        answer = await get().run(workers[0])
        assert answer.status == 200
        assert answer.headers["ratelimit"].startswith('"3/year";r=0;t=')
        assert redis_server.connections() == others + 2
    assert redis_server.connections() == others


async def test_a_limiter_counts_there(redis_server: RedisServer) -> None:
    """Without HTTP; it closes what it has opened."""
    limiter = RateLimiter("2/year", store=redis_server.url)
    assert [(await limiter.hit("ann")).admitted for _ in range(3)] == [True, True, False]
    await limiter.aclose()


@pytest.mark.parametrize(
    ("target", "prefix", "field"),
    [
        ("localhost", "p", "target"),
        ("http://localhost", "p", "target"),
        ("redis://localhost:x", "p", "target"),
        ("redis://localhost?colour=red", "p", "target"),
        ("redis+cluster://localhost:7000/1", "p", "target"),
        ("redis+sentinel://localhost:1", "p", "target"),
        ("redis+sentinel://localhost/x", "p", "target"),
        (5, "p", "target"),
        (None, "p", "target"),
        (Redis, "p", "target"),
        ("redis://localhost", "", "prefix"),
        ("redis://localhost", "a{b}", "prefix"),
        ("redis://localhost", "ä", "prefix"),
    ],
)
def test_a_wrong_setting_is_named(target: Any, prefix: str, field: str) -> None:
    """When the store is made, and without what a URL may hold."""
    with pytest.raises(ConfigurationError, match=rf"RedisStore\.{field} is .*; allowed: "):
        RedisStore(target, prefix=prefix)


def test_it_has_no_moving_window() -> None:
    """Which is said when the rule is made."""
    with pytest.raises(ConfigurationError, match=r"Rule\.algorithm is 'moving-window'; allowed"):
        RateLimit(Rule("5/year", algorithm="moving-window"), store="redis://localhost")


async def test_who_asks_while_it_closes_is_told(redis_server: RedisServer) -> None:
    """Also before anything was sent."""
    store = RedisStore(redis_server.url)
    waiting = asyncio.ensure_future(ask(store))
    await asyncio.sleep(0)
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await asyncio.wait_for(waiting, 5)


@pytest.mark.parametrize("apart", [0.0, 0.01])
@pytest.mark.parametrize("order", [(0.05, 3.0), (3.0, 0.05)])
async def test_each_waits_as_long_as_it_has_said(
    redis_server: RedisServer, order: tuple[float, float], apart: float
) -> None:
    """Though others who share the store wait for longer, or for less, in the same question or not.

    One that waits behind another's question is refused with it, so only the first is sure.
    """
    store = RedisStore(redis_server.url)
    await ask(store)
    counter = store.counter("rule-0", LONG)

    async def wait(within: float) -> bool:
        try:
            await store.hit([(counter, "ann", 1)], within=within)
        except StoreUnavailable:
            return False
        return True

    with redis_server.frozen():
        tasks = {}
        for within in order:
            tasks[within] = asyncio.ensure_future(wait(within))
            if apart:
                await asyncio.sleep(apart)
        assert not await asyncio.wait_for(tasks[0.05], 1)
    long_one = await tasks[3.0]
    assert long_one or (apart and order[0] == 0.05)
    await store.aclose()


async def test_a_quota_with_a_burst_is_a_bucket(redis_server: RedisServer) -> None:
    """Without HTTP as well."""
    for where in (redis_server.url, "memory://"):
        limiter = RateLimiter(Quota(1, 1e7, burst=3), store=where)
        assert [(await limiter.hit("ann")).admitted for _ in range(4)] == [True] * 3 + [False]
        await limiter.aclose()


async def test_periods_that_are_nearly_alike_are_not(redis_server: RedisServer) -> None:
    """Each has counters of its own; and no period is too long to be kept."""
    store = RedisStore(redis_server.url)
    for period in (1_000_000.0, 1_000_001.0):
        (decision,) = await store.hit([(store.counter("r", Quota(2, period)), "a", 1)])
        assert decision.remaining == 1
    long = store.counter("long", Quota(1, 3e9, burst=10**8), "token-bucket")
    (decision,) = await store.hit([(long, "a", 10**7)])
    assert decision.admitted
    await store.aclose()


@pytest.mark.parametrize("algorithm", ["sliding-window", "fixed-window", "token-bucket"])
async def test_a_key_over_quota_gets_units_back_too(
    redis_server: RedisServer, algorithm: Algorithm
) -> None:
    """As when the quota was lowered meanwhile."""
    store = RedisStore(redis_server.url)
    is_bucket = algorithm == "token-bucket"
    high = store.counter("rule", Quota(50, LONG.period), algorithm)
    lower = Quota(50 if is_bucket else 10, LONG.period, 10 if is_bucket else None)
    low = store.counter("rule", lower, algorithm)
    await store.hit([(high, "ann", 45)], within=5.0)
    for _ in range(2):  # of which the first leaves it over quota
        await store.give_back([(low, "ann", 20)], age=0.0, within=5.0)
    (decision,) = await store.hit([(low, "ann", 0)], within=5.0)
    assert decision.remaining == 5
    await store.aclose()
