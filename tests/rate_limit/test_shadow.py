"""Shadow rules: they decide and count, and refuse nobody."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_guard import ConfigurationError, Guard, MemoryStore, Metrics, Quota, RateLimit, Rule
from asgi_guard.keys import path
from asgi_guard.rate_limit.rules.running import RuleTally, RunningRule
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.shell import Shell
from asgi_guard.testing import FakeClock
from tests.driver import connect, get, hello
from tests.rate_limit.limiting import Limited, on_redis
from tests.stores.redis_server import RedisServer

LONG = 1e7  # seconds; the windows of a server's clock should not end in a test
ENFORCED_OF_30 = [1, 10, 12, 14, 16, 17, 18, 21, 29]
ALGORITHMS = ("sliding-window", "fixed-window", "token-bucket")


class SlowStore(MemoryStore):
    """Counters that are asked like those of a server."""


class PlainStore:
    """A store that can give nothing back."""

    def __init__(self) -> None:
        self._store = MemoryStore(clock=FakeClock(0.0))
        self.counter = self._store.counter
        self.hit = self._store.hit


def slow_store() -> SlowStore:
    """Return an empty one, on a clock that stands still."""
    return SlowStore(clock=FakeClock(0.0))


# Asked at once, awaited, and asked one after the other.
STORES = [lambda: None, slow_store, PlainStore]


def shadowed(limited: Limited) -> list[tuple[int, int, int]]:
    """Return for each rule: allowed, denied, shadow_denied."""
    return [(each.allowed, each.denied, each.shadow_denied) for each in limited.layer.snapshot()]


@pytest.mark.parametrize("request_of", [get, connect])
@pytest.mark.parametrize("store", STORES)
async def test_a_shadow_rule_counts_and_refuses_nobody(store: Any, request_of: Any) -> None:
    """Alone in its guard, and without a header field."""
    limited = Limited(Rule("1/hour", shadow=True), store=store())
    for _ in range(3):
        exchange = await request_of().run(limited.app)
        assert exchange.status == 200
        assert "ratelimit" not in exchange.headers
    assert shadowed(limited) == [(1, 0, 2)]


async def test_a_whole_guard_can_be_a_shadow() -> None:
    """Every rule of it, also what is asked only as a function."""

    async def quota(scope: Any) -> str:
        return "1/hour"

    limited = Limited("1/hour", Rule(quota, name="tiered"), shadow=True)
    assert await limited.statuses(get(), get(), get()) == [200] * 3
    assert shadowed(limited) == [(1, 0, 2), (1, 0, 2)]


@pytest.mark.parametrize("store", STORES)
async def test_a_shadow_does_not_keep_others_from_being_charged(store: Any) -> None:
    """In whatever order; only the enforced rule is told."""
    tight = Rule("1/hour", name="tight", shadow=True)
    limited = Limited(tight, "3/hour", store=store())
    left = []
    for _ in range(4):
        exchange = await get().run(limited.app)
        left.append((exchange.status, exchange.headers["ratelimit"].split(";")[1]))
        assert "tight" not in exchange.headers["ratelimit-policy"]
    assert left == [(200, "r=2"), (200, "r=1"), (200, "r=0"), (429, "r=0")]
    assert shadowed(limited) == [(1, 0, 2), (3, 1, 0)]


@pytest.mark.parametrize("store", STORES)
async def test_what_is_refused_charges_no_shadow(store: Any) -> None:
    """So that it counts what it would if it were enforced beside the others."""
    enforced = Rule("1/hour", path="/login", name="enforced")
    limited = Limited(Rule("3/hour", name="shadow", shadow=True), enforced, store=store())
    assert await limited.statuses(*(get("/login") for _ in range(9))) == [200] + [429] * 8
    await asyncio.sleep(0.01)
    assert await limited.statuses(get(), get(), get()) == [200] * 3
    assert shadowed(limited) == [(3, 0, 1), (1, 8, 0)]


class LateStore(MemoryStore):
    """Counters that take a while to give back."""

    async def give_back(self, charges: Any, **more: Any) -> None:
        """Undo charges, later."""
        await asyncio.sleep(0.01)
        await super().give_back(charges, **more)


async def test_shadows_of_messages_get_back_what_is_theirs_before_the_end() -> None:
    """What is on its way when the app shuts down arrives, while the store is still there."""
    store = LateStore(clock=FakeClock(0.0))
    messages = [
        Rule("2/hour", key=path, name="shadow", shadow=True),
        Rule("1/hour", key=path, name="enforced"),
    ]
    limited = Limited(messages=messages, on_excess="drop", store=store)
    exchange = connect()
    for _ in range(3):
        exchange.say({"type": "websocket.receive", "text": "hello"})
    exchange.say({"type": "websocket.disconnect", "code": 1001})
    settings = limited.layer.settings
    await exchange.run(Shell(settings, listen, [limited.layer]))
    await limited.layer.aclose()
    counter = store.counter("shadow", Quota(2, 3600.0))
    (decision,) = await store.hit([(counter, "/", 0)])
    assert decision.remaining == 1


async def listen(scope: Any, receive: Any, send: Any) -> None:
    """Listen until the client leaves."""
    await send({"type": "websocket.accept"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def test_enforced_rules_stay_all_or_nothing() -> None:
    """Beside a shadow rule that refuses."""
    rules = (Rule("1/hour", name="s", shadow=True), Rule("1/hour", path="/login"), "3/hour")
    limited = Limited(*rules)
    assert await limited.statuses(*(get("/login") for _ in range(4))) == [200] + [429] * 3
    assert await limited.statuses(get(), get(), get()) == [200, 200, 429]


async def test_shadows_are_charged_each_by_itself() -> None:
    """The refusal of one is not felt by another: old and new stand side by side."""
    limited = Limited(*(Rule(f"{n}/hour", shadow=True) for n in (1, 2)))
    await limited.statuses(*(get() for _ in range(4)))
    assert shadowed(limited) == [(1, 0, 3), (2, 0, 2)]


async def test_metrics_tell_what_would_have_been_denied() -> None:
    """As a decision of its own."""
    limit = RateLimit(Rule("1/hour", shadow=True))
    guard = Guard(metrics=Metrics(registry=CollectorRegistry()), rate_limit=limit)(hello)
    for _ in range(3):
        await get().run(guard)
    text = (await get("/metrics").run(guard)).body.decode()
    for decision, count in (("allowed", 1), ("denied", 0), ("shadow_denied", 2)):
        assert f'_decisions_total{{decision="{decision}",rule="1/hour"}} {count}.0' in text


async def test_shadow_and_enforced_rules_take_one_trip(redis_server: RedisServer) -> None:
    """Counted by the server; and a refusal charges nothing there."""
    rules = [Rule(Quota(n, LONG), name=f"rule-{n}", shadow=n < 4) for n in (2, 3, 4, 9)]
    limited = on_redis(*rules, url=redis_server.url)
    await get().run(limited.app)
    before = redis_server.calls("evalsha")
    assert await limited.statuses(get(), get(), get()) == [200] * 3
    assert redis_server.calls("evalsha") - before == 3
    assert await limited.statuses(*(get() for _ in range(5))) == [429] * 5
    assert shadowed(limited) == [(2, 0, 2), (3, 0, 1), (4, 5, 0), (4, 0, 0)]
    await limited.layer.aclose()
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


async def test_a_refusal_charges_no_shadow_on_redis(redis_server: RedisServer) -> None:
    """What was taken in the same trip is given back, at the latest when the app shuts down."""
    shadow, enforced = Quota(3, LONG), Quota(1, LONG)
    limited = on_redis(
        Rule(shadow, name="shadow", shadow=True),
        Rule(enforced, name="enforced"),
        url=redis_server.url,
    )
    assert await limited.statuses(*(get() for _ in range(3))) == [200, 429, 429]
    await limited.layer.aclose()
    store: Any = limited.layer._store
    (decision,) = await store.hit([(store.counter("shadow", shadow), "192.0.2.1", 0)], within=5.0)
    assert decision.remaining == 2
    await store.aclose()


@pytest.mark.parametrize("mode", ["local", "admit", "refuse"])
async def test_a_shadow_refuses_nobody_while_the_store_is_out(mode: Any) -> None:
    """Whatever it does on failure."""
    store = RedisStore("redis://127.0.0.1:1")
    limited = Limited(Rule("1/hour", shadow=True, on_store_failure=mode), store=store)
    assert await limited.statuses(get(), get(), get()) == [200] * 3
    assert shadowed(limited) == [(1, 0, 2) if mode == "local" else (3, 0, 0)]
    await limited.layer.aclose()
    await store.aclose()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    ("age", "left"), [(0.0, 3), (5.0, 3), (1e9, 2)], ids=["now", "later", "gone"]
)
async def test_what_is_given_back_can_be_taken_again(algorithm: Any, age: float, left: int) -> None:
    """Never to below zero, and nothing where the window is gone."""
    store = MemoryStore(clock=FakeClock(0.0))
    counter = store.counter("rule", Quota(3, LONG), algorithm)
    await store.hit([(counter, "ann", 1)])
    store.clock.advance(5.0)  # type: ignore[attr-defined]
    if algorithm == "token-bucket":
        await store.hit([(counter, "ann", 1)])
        await store.give_back([(counter, "ann", 1)], age=0.0)
    await store.give_back([(counter, "ann", 9 if left == 3 else 1)], age=age)
    (decision,) = await store.hit([(counter, "ann", 0)])
    assert decision.remaining == left
    await store.give_back([(counter, "bob", 5)], age=0.0)
    assert [(await store.hit([(counter, "bob", 1)]))[0].remaining for _ in "12"] == [2, 1]


async def test_units_leave_the_window_they_were_charged_in() -> None:
    """What was charged since stays."""
    store = MemoryStore(clock=FakeClock(0.0))
    counter = store.counter("rule", Quota(3, 100.0))
    key = next(str(n) for n in range(10_000) if hash(str(n)) & 255 == 0)  # whose windows begin at 0
    await store.hit([(counter, key, 2)])
    store.clock.advance(100.0)  # type: ignore[attr-defined]
    assert (await store.hit([(counter, key, 1)]))[0].remaining == 0
    await store.give_back([(counter, key, 2)], age=100.0)
    assert (await store.hit([(counter, key, 0)]))[0].remaining == 2


@pytest.mark.parametrize(
    ("age", "cost", "left"), [(20.0, 8, 10), (5.0, 2, 4)], ids=["before", "since"]
)
async def test_a_bucket_gets_back_what_was_taken_around_a_boundary(
    age: float, cost: int, left: int
) -> None:
    """Tokens are in the bucket again, on whichever side of a boundary they were taken."""
    store = MemoryStore(clock=FakeClock(0.0))
    counter = store.counter("rule", Quota(10, 100.0), "token-bucket")
    key = next(str(n) for n in range(10_000) if hash(str(n)) & 255 == 0)  # whose windows begin at 0
    store.clock.advance(90.0)  # type: ignore[attr-defined]
    await store.hit([(counter, key, 8)])
    store.clock.advance(15.0)  # type: ignore[attr-defined]
    await store.hit([(counter, key, 2)])
    store.clock.advance(5.0)  # type: ignore[attr-defined]
    await store.give_back([(counter, key, cost)], age=age)
    (decision,) = await store.hit([(counter, key, 0)])
    assert decision.remaining == left


async def test_a_bucket_that_was_not_hit_since_gets_it_back_as_well() -> None:
    """Its entry is that of the window before."""
    store = MemoryStore(clock=FakeClock(0.0))
    counter = store.counter("rule", Quota(10, 100.0), "token-bucket")
    key = next(str(n) for n in range(10_000) if hash(str(n)) & 255 == 0)
    store.clock.advance(90.0)  # type: ignore[attr-defined]
    await store.hit([(counter, key, 10)])
    store.clock.advance(20.0)  # type: ignore[attr-defined]
    await store.give_back([(counter, key, 5)], age=20.0)
    (decision,) = await store.hit([(counter, key, 0)])
    assert decision.remaining == 7


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(("age", "left"), [(0.0, 3), (1e9, 2)], ids=["now", "gone"])
async def test_redis_gives_back_alike(
    redis_server: RedisServer, algorithm: Any, age: float, left: int
) -> None:
    """By the age of the charge, on the server's clock."""
    store = RedisStore(redis_server.url)
    counter = store.counter("rule", Quota(3, LONG), algorithm)
    await store.hit([(counter, "ann", 1)], within=5.0)
    await store.give_back([(counter, "ann", 9 if left == 3 else 1)], age=age, within=5.0)
    (decision,) = await store.hit([(counter, "ann", 0)], within=5.0)
    assert decision.remaining == left
    await store.aclose()


@pytest.mark.parametrize("wrong", [None, 1, "yes"])
def test_a_wrong_flag_is_named(wrong: Any) -> None:
    """When the settings are made."""
    with pytest.raises(ConfigurationError, match=r"Rule\.shadow is .*; allowed: True or False"):
        Rule("1/hour", shadow=wrong)
    with pytest.raises(ConfigurationError, match=r"RateLimit\.shadow is .*; allowed: True or Fal"):
        RateLimit("1/hour", shadow=wrong)


def sides(rule: Rule, keys: int) -> list[bool]:
    """Return for each key whether the rule is enforced there."""
    running = RunningRule(rule, MemoryStore(), "local", RuleTally(), enforced=rule.enforced)
    return [running.enforces(f"10.0.{n // 256}.{n % 256}") for n in range(keys)]


@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 0.9])
async def test_a_share_of_the_keys_is_enforced(ratio: float) -> None:
    """Within five standard deviations."""
    spread = 5 * (ratio * (1 - ratio) / 10_000) ** 0.5
    share = sum(sides(Rule("1/hour", enforce_ratio=ratio), 10_000)) / 10_000
    assert abs(share - ratio) < spread


@pytest.mark.parametrize("ratio", [0, 1, 0.0, 1.0])
async def test_a_share_may_be_nobody_or_everybody(ratio: float) -> None:
    """Without exception."""
    assert sides(Rule("1/hour", enforce_ratio=ratio), 1000) == [ratio == 1] * 1000


def test_who_is_enforced_stays_so() -> None:
    """When the ratio grows; and whatever the rule is called, in whatever process."""
    few = sides(Rule("1/hour", enforce_ratio=0.2), 500)
    more = sides(Rule("2/hour", enforce_ratio=0.6), 500)
    assert all(later for before, later in zip(few, more, strict=True) if before)
    assert sum(few) < sum(more)
    assert [n for n, is_in in enumerate(few[:30]) if is_in] == ENFORCED_OF_30


@pytest.mark.parametrize("store", STORES)
async def test_each_key_is_on_its_side(store: Any) -> None:
    """Enforced ones are refused and told, the others are neither, and both are counted."""
    rule = Rule("1/hour", enforce_ratio=0.5)
    limited = Limited(rule, store=store())
    enforced = sides(rule, 40)
    assert 0 < sum(enforced) < 40
    for number, is_enforced in enumerate(enforced):
        client = (f"10.0.0.{number}", 1)
        first, second = [await get(client=client).run(limited.app) for _ in range(2)]
        assert (first.status, second.status) == (200, 429 if is_enforced else 200)
        assert ("ratelimit" in first.headers) is is_enforced
    assert shadowed(limited) == [(40, sum(enforced), 40 - sum(enforced))]


@pytest.mark.parametrize("wrong", [-0.1, 1.1, True, None, "0.5", float("nan")])
def test_a_wrong_ratio_is_named(wrong: Any) -> None:
    """And one that says the opposite of shadow=True."""
    with pytest.raises(ConfigurationError, match=r"Rule\.enforce_ratio is .*; allowed: a share"):
        Rule("1/hour", enforce_ratio=wrong)
    with pytest.raises(ConfigurationError, match=r"Rule\.enforce_ratio is 0\.5; allowed: 1\.0 wh"):
        Rule("1/hour", enforce_ratio=0.5, shadow=True)
