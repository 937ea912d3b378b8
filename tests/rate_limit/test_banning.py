"""Bans at work: what clients see, what is counted, and who is left alone."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_guard import (
    Ban,
    Charge,
    ConfigurationError,
    Decision,
    Guard,
    MemoryStore,
    Metrics,
    Quota,
    QuotaExceeded,
    RateLimit,
    RateLimiter,
    Rule,
    StoreUnavailable,
    rate_limited,
)
from asgi_guard.rate_limit.stores.counters import SlidingCounter
from asgi_guard.rate_limit.stores.limits import LimitsStore
from asgi_guard.testing import FakeClock
from tests.driver import Exchange, connect, get, hello
from tests.rate_limit.limiting import Limited
from tests.rate_limit.test_messages import Talking, closes

LOGIN = Rule("2/second", name="login", ban=Ban(3, lasts=60.0))
BANNED = 'Banned after repeated refusals by "login".'


class SlowStore(MemoryStore):
    """Counters that are asked like those of a server."""


class Failing(SlowStore):
    """Counters that can be out."""

    is_out = False

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge them, or raise."""
        if self.is_out:
            raise StoreUnavailable("it is out")
        return await super().hit(charges, within=within)


class PlainStore:
    """A store that knows no bans."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self.hit = self._store.hit

    def counter(self, rule: str, quota: Quota, algorithm: Any = "sliding-window") -> Any:
        """Return the counter of a rule."""
        return self._store.counter(rule, quota, algorithm)


STORES = [MemoryStore, SlowStore]


def limited_by(*rules: Rule | str, kind: type[MemoryStore] = MemoryStore, **more: Any) -> Limited:
    """Return the app behind rules that count in a store of a kind, on the clock of the app."""
    clock = FakeClock(0.0)
    limited = Limited(*rules, store=kind(clock=clock), **more)
    limited.clock = clock
    return limited


def bans(limited: Limited) -> list[tuple[int, int, int]]:
    """Return for each rule: denied, shadow_denied, bans."""
    return [(each.denied, each.shadow_denied, each.bans) for each in limited.layer.snapshot()]


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("request_of", [get, connect])
async def test_a_banned_client_is_told_so_and_until_when(kind: Any, request_of: Any) -> None:
    """From the refusal that begins the ban on, with fields that agree."""
    limited = limited_by(LOGIN, kind=kind)
    assert await limited.statuses(*(request_of() for _ in range(4))) == [200, 200, 429, 429]
    answers = []
    for wait in (0.0, 20.5, 39.25):
        limited.clock.advance(wait)
        answers.append(await request_of().run(limited.app))
    assert [each.status for each in answers] == [429] * 3
    assert [each.headers["retry-after"] for each in answers] == ["60", "40", "1"]
    states = [each.headers["ratelimit"] for each in answers]
    assert states == [f'"login";r=0;t={rest}' for rest in (60, 40, 1)]
    problem = json.loads(answers[1].body)
    assert problem["detail"] == f"{BANNED} Retry in 40 s."
    assert problem["type"].endswith("#abnormal-usage-detected")
    assert problem["violated-policies"] == ["login"]
    limited.clock.advance(0.25)
    assert await limited.statuses(request_of()) == [200]
    assert bans(limited) == [(5, 0, 1)]


async def test_nobody_else_is_banned() -> None:
    """Other clients, and the same client by other rules."""
    limited = limited_by(Rule("1/second", path="/login", ban=Ban(1)))
    paths = ["/login", "/login", "/login", "/", "/"]
    assert await limited.statuses(*map(get, paths)) == [200, 429, 429, 200, 200]
    other = get("/login", client=("192.0.2.9", 1))
    assert await limited.statuses(other) == [200]


async def test_the_next_ban_is_longer_until_the_client_was_quiet() -> None:
    """Twice as long, and as at first after a pause as long as the last one."""
    limited = limited_by(Rule("1/second", name="r", ban=Ban(1, lasts=10.0, longest=35.0)))
    waits = []
    for pause in (0.0, 5.0, 5.0, 5.0, 35.0):
        limited.clock.advance(pause)
        while (answer := await get().run(limited.app)).status == 200:
            pass
        waits.append(int(answer.headers["retry-after"]))
        limited.clock.advance(waits[-1])
    assert waits == [10, 20, 35, 35, 10]


async def test_what_a_banned_client_asks_charges_nobody() -> None:
    """Not the other rules either; all that refuse are named, the ban in the sentence."""
    limited = limited_by("9/hour", LOGIN, Rule("4/hour", name="tight"))
    for status in (200, 200, 429, 429, 429, 429):
        answer = await get().run(limited.app)
        assert answer.status == status
    assert '"9/hour";r=7' in answer.headers["ratelimit"]
    limited.clock.advance(60.0)
    assert await limited.statuses(*(get() for _ in range(3))) == [200, 200, 429]
    assert bans(limited) == [(0, 0, 0), (5, 0, 1), (1, 0, 0)]
    limited = limited_by(Rule("1/hour", name="full"), Rule("1/hour", name="login", ban=Ban(2)))
    for _ in range(4):
        answer = await get().run(limited.app)
    problem = json.loads(answer.body)
    assert problem["detail"].startswith(BANNED)
    assert problem["violated-policies"] == ["full", "login"]
    assert int(answer.headers["retry-after"]) > 60


@pytest.mark.parametrize("kind", STORES)
async def test_a_shadow_bans_nobody_and_counts(kind: Any) -> None:
    """What it would have done, had it been enforced."""
    shadow = Rule("2/second", name="s", shadow=True, ban=Ban(3, lasts=60.0))
    limited = limited_by(shadow, kind=kind)
    assert await limited.statuses(*(get() for _ in range(9))) == [200] * 9
    limited.clock.advance(59.0)
    assert await limited.statuses(get()) == [200]
    assert bans(limited) == [(0, 8, 1)]
    limited.clock.advance(1.0)
    assert await limited.statuses(get()) == [200]
    assert bans(limited) == [(0, 8, 1)]


@pytest.mark.parametrize("kind", STORES)
async def test_a_shadow_counts_the_refusals_that_others_share(kind: Any) -> None:
    """As it would if it were enforced beside them."""
    shadow = Rule("1/hour", name="s", shadow=True, ban=Ban(3))
    limited = limited_by(shadow, Rule("1/hour", name="enforced"), kind=kind)
    assert await limited.statuses(*(get() for _ in range(6))) == [200] + [429] * 5
    assert bans(limited) == [(0, 0, 1), (5, 0, 0)]


async def test_a_ban_holds_whatever_the_plan_is() -> None:
    """It is the rule's, not that of one of its quotas."""
    plan = "1/minute"

    async def quota(scope: Any) -> str:
        return plan

    limited = limited_by(Rule(quota, name="plan", quota_ttl=0.0, ban=Ban(2, lasts=600.0)))
    assert await limited.statuses(get(), get(), get()) == [200, 429, 429]
    plan = "1000/hour"
    assert await limited.statuses(get()) == [429]
    limited.clock.advance(600.0)
    assert await limited.statuses(get()) == [200]


async def test_what_never_fits_is_a_refusal_without_a_wait() -> None:
    """Before the ban and during it."""
    limited = limited_by(Rule("5/hour", name="r", cost=6, ban=Ban(2)))
    for detail in ("Quota", "Banned", "Banned"):
        answer = await get().run(limited.app)
        assert "retry-after" not in answer.headers
        assert json.loads(answer.body)["detail"].startswith(detail)
    assert answer.headers["ratelimit"] == '"r";r=0;t=60'


@pytest.mark.parametrize("kind", STORES)
async def test_an_outcome_that_does_not_count_ends_no_ban(kind: Any) -> None:
    """What is given back is the charge; attempts at the same time were refused all the same."""
    rule = Rule("2/second", name="r", count_when={401}, ban=Ban(1, lasts=60.0))
    clock, doors, entered = FakeClock(0.0), asyncio.Event(), asyncio.Barrier(3)

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        if not doors.is_set():
            await entered.wait()
        await doors.wait()
        await hello(scope, receive, send)

    app = RateLimit(rule, store=kind(clock=clock))(waiting)
    inside = [asyncio.ensure_future(get().run(app)) for _ in range(2)]
    await entered.wait()
    assert (await get().run(app)).status == 429
    doors.set()
    assert [(await each).status for each in inside] == [200, 200]
    await asyncio.sleep(0.01)
    assert (await get().run(app)).status == 429
    clock.advance(60.0)
    assert (await get().run(app)).status == 200


async def test_messages_are_banned_beyond_their_websocket() -> None:
    """By a key that is not the connection: those of the next one are refused as well."""
    rule = Rule("2/second", name="login", key=lambda scope: "ann", ban=Ban(2, lasts=60.0))
    talking = Talking(messages=[rule], on_excess="drop")
    assert await talking.echoed("a", "b", "c", "d", "e") == ["a", "b"]
    talking.clock.advance(30.0)
    assert await talking.echoed("f", "g") == []
    talking.clock.advance(30.0)
    assert await talking.echoed("h") == ["h"]
    assert [each.bans for each in talking.layer.snapshot()] == [1]


async def test_a_websocket_of_who_is_banned_is_closed() -> None:
    """With the reason."""
    rule = Rule("2/second", name="login", key=lambda scope: "ann", ban=Ban(1))
    talking = Talking(messages=[rule])
    await talking.echoed("a", "b", "c")
    talking.clock.advance(30.0)
    exchange: Exchange = connect()
    exchange.say({"type": "websocket.receive", "text": "d"})
    assert closes(await exchange.run(talking.app)) == [
        {"type": "websocket.close", "code": 1008, "reason": BANNED}
    ]


async def test_a_function_bans_as_well() -> None:
    """What it raises says so."""
    clock = FakeClock(0.0)
    limit = rate_limited(LOGIN, store=MemoryStore(clock=clock))
    errors: list[QuotaExceeded] = []

    @limit
    async def run() -> None:
        """Do nothing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await run()
        except QuotaExceeded as error:
            errors.append(error)
            raise
        await hello(scope, receive, send)

    guarded = Guard()(app)
    statuses = [(await get().run(guarded)).status for _ in range(6)]
    assert statuses == [200] * 2 + [429] * 4
    assert [str(each).startswith("Banned") for each in errors] == [False, False, True, True]
    assert errors[-1].retry_after == 60.0


async def test_a_limiter_bans_as_well() -> None:
    """Its decisions say so."""
    clock = FakeClock(0.0)
    limiter = RateLimiter("1/second", store=MemoryStore(clock=clock), ban=Ban(2, lasts=5.0))
    decisions = [await limiter.hit("ann") for _ in range(4)]
    assert [each.banned for each in decisions] == [False, False, True, True]
    assert decisions[-1] == (False, 0, 5.0, 5.0)
    clock.advance(5.0)
    assert (await limiter.hit("ann")).admitted
    with pytest.raises(ConfigurationError, match=r"Rule\.ban"):
        RateLimiter("1/second", store="async+memory://", ban=Ban(2))


async def test_metrics_count_bans_by_rule() -> None:
    """And nothing by key."""
    limit = RateLimit(Rule("1/hour", name="counted", ban=Ban(1)))
    guard = Guard(metrics=Metrics(registry=CollectorRegistry()), rate_limit=limit)(hello)
    for client in range(5):
        for _ in range(4):
            await get(client=(f"192.0.2.{client}", 1)).run(guard)
    text = (await get("/metrics").run(guard)).body.decode()
    # Functions that other tests have limited are in there as well.
    assert text.count('asgi_guard_rate_limit_bans_total{rule="counted"} 5.0') == 1
    assert text.count('_bans_total{rule="counted"') == 1
    assert "192.0.2" not in text


async def test_while_the_store_is_out_bans_are_begun_here() -> None:
    """But nobody is banned for what the store has admitted, whatever the share of a worker is."""
    clock = FakeClock(0.0)
    store = Failing(clock=clock)
    rule = Rule("8/hour", name="r", ban=Ban(3, lasts=60.0))
    limited = Limited(rule, store=store, workers=4)
    limited.layer._now = clock
    assert await limited.statuses(*(get() for _ in range(8))) == [200] * 8
    store.is_out = True
    answers = [await get().run(limited.app) for _ in range(4)]
    details = [json.loads(each.body)["detail"].split()[0] for each in answers]
    assert details == ["Quota", "Quota", "Banned", "Banned"]
    assert bans(limited) == [(4, 0, 1)]
    await limited.layer.aclose()


async def test_a_flood_of_refused_keys_is_bounded_and_frees_nobody() -> None:
    """New keys are not banned while there is no room, and are again when there is."""
    clock = FakeClock(0.0)
    store = MemoryStore(max_keys=4096, clock=clock)
    counter = store.counter("r", Quota(1, 0.001), ban=Ban(2, within=100.0, lasts=50.0))

    async def refused(key: str) -> Decision:
        (decision,) = await store.hit([(counter, key, 2)])
        return decision

    for _ in range(2):
        decision = await refused("ann")
    assert decision.banned
    for number in range(3000):
        for _ in range(3):
            clock.advance(0.0001)
            await refused(f"key {number}")
    clock.advance(1.0)
    assert len(store) <= 410
    assert (await refused("key 0")).banned
    assert (await refused("ann")).banned
    assert not (await refused("key 2999")).banned
    clock.advance(100.0)
    for number in range(3000, 4000):
        for _ in range(2):
            decision = await refused(f"key {number}")
    assert len(store) <= 410
    assert not decision.banned
    clock.advance(100.0)
    for _ in range(2):
        decision = await refused("late")
    assert decision.banned


async def test_a_record_makes_room_no_sooner_than_it_matters() -> None:
    """Also where it has been prolonged since it was made."""
    clock = FakeClock(0.0)
    store = MemoryStore(max_keys=4096, clock=clock)
    counter = store.counter("r", Quota(1, 1.0), ban=Ban(2, within=10.0, lasts=500.0))
    await store.hit([(counter, "ann", 2)])
    clock.advance(9.0)
    await store.hit([(counter, "ann", 2)])
    clock.advance(400.0)
    for number in range(600):
        await store.hit([(counter, str(number), 2)])
        clock.advance(0.1)
    (decision,) = await store.hit([(counter, "ann", 1)])
    assert decision.banned
    assert decision.retry_after == pytest.approx(40.0)


def test_rules_without_a_ban_are_counted_as_ever() -> None:
    """By the counter itself, and in one step where one decides alone."""
    assert type(MemoryStore().counter("r", Quota(1, 1.0))) is SlidingCounter
    for rule, is_alone in ((Rule("1/hour"), True), (Rule("1/hour", ban=Ban(1)), False)):
        limited = Limited(rule)
        plan = limited.layer._fixed
        assert plan is not None
        assert (plan.only is not None) is is_alone


@pytest.mark.parametrize("store", [LimitsStore("async+memory://"), PlainStore()])
def test_stores_that_know_no_bans_say_what_to_do(store: Any) -> None:
    """When the guard is made."""
    with pytest.raises(ConfigurationError, match=r"Rule\.ban.*memory://.*redis://"):
        RateLimit(Rule("1/hour", ban=Ban(1)), store=store)


def test_what_a_ban_does_not_go_with() -> None:
    """Each names the other."""
    with pytest.raises(ConfigurationError, match=r"Rule\.lease.*ban="):
        Rule("9/hour", lease=3, ban=Ban(1))
    with pytest.raises(ConfigurationError, match=r"Rule\.ban.*Ban\(after=10\)"):
        Rule("9/hour", ban=10)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"RateLimit\.on_excess.*ban="):
        RateLimit(messages=[Rule("9/hour", ban=Ban(1))], on_excess="delay")


async def test_a_ban_is_told_also_where_another_rule_refuses_first() -> None:
    """The longest wait counts: who comes back after it is admitted."""
    limited = limited_by(
        Rule("1 per 2 seconds", name="first"),
        Rule("1 per 30 seconds", name="second", burst=1, path="/login", ban=Ban(1, lasts=1.0)),
    )
    both = [await get("/login").run(limited.app) for _ in range(3)]
    assert [each.status for each in both] == [200, 429, 429]
    assert [each.headers.get("retry-after") for each in both] == [None, "31", "31"]


def test_bans_belong_to_the_name_of_the_rule_whatever_their_terms() -> None:
    """Whoever makes them harder frees nobody, nor does a rule that was away for a moment."""
    clock = FakeClock(0.0)
    store = MemoryStore(clock=clock)
    quota = Quota(1, 2.0)
    counter = store.counter("login", quota, ban=Ban(1, lasts=300.0))
    assert [counter.hit("ann", 1, clock())[0] for _ in range(2)] == [True, False]
    clock.advance(10.0)
    counter = store.counter("login", quota, ban=Ban(1, lasts=600.0, longest=600.0))
    assert counter.hit("ann", 1, clock())[3] == pytest.approx(290.0)
    del counter
    clock.advance(10.0)
    store.counter("other", quota)
    counter = store.counter("login", quota, ban=Ban(1, lasts=600.0, longest=600.0))
    assert counter.hit("ann", 1, clock())[3] == pytest.approx(280.0)
    del counter
    clock.advance(2000.0)
    store.counter("another", quota)
    assert "login" not in store._records
