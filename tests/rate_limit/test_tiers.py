"""Tiers: quotas that a function chooses by whom a request is of."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from asgi_guard import ConfigurationError, MemoryStore, Quota, RateLimit, Rule, header
from asgi_guard.rate_limit.recent import Recent
from asgi_guard.rate_limit.rules.tiers import Tiers
from tests.driver import Exchange, connect, get, http_scope
from tests.rate_limit.limiting import Limited, on_redis
from tests.stores.redis_server import RedisServer

WHO = header("x-who")
PLANS: dict[str, Any] = {"free": "1/hour", "paid": Quota(3, 3600.0), "staff": None}


def of(who: str, kind: Callable[..., Exchange] = get, path: str = "/") -> Exchange:
    """Return a request of somebody."""
    return kind(path, headers={"x-who": who})


class Plans:
    """Which quota each caller has; counts how often it is asked.

    Attributes:
        quotas: By caller.
        asked: Who was asked for.
        error: What it raises, if anything.
        go: What the async form waits for.
    """

    def __init__(self, **quotas: Any) -> None:
        self.quotas: dict[str, Any] = {**PLANS, **quotas}
        self.asked: list[str] = []
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()

    def now(self, scope: Any) -> Any:
        """Answer at once."""
        (who,) = (value.decode() for name, value in scope["headers"] if name == b"x-who")
        self.asked.append(who)
        if self.error is not None:
            raise self.error
        return self.quotas[who]

    async def later(self, scope: Any) -> Any:
        """Answer when told to go."""
        answer = self.now(scope)
        await self.go.wait()
        return answer

    def ways(self, **more: Any) -> list[Limited]:
        """Return an app that asks the plain form, and one that asks the async one."""
        return [Limited(Rule(ask, name="plan", key=WHO, **more)) for ask in (self.now, self.later)]


async def test_everybody_has_the_quota_of_a_tier() -> None:
    """Each of its own, requests and handshakes alike; None is exempt, and counted so."""
    for limited in Plans().ways():
        assert await limited.statuses(*(of("free") for _ in range(2))) == [200, 429]
        assert await limited.statuses(*(of("paid") for _ in range(4))) == [200, 200, 200, 429]
        assert await limited.statuses(of("paid", connect), of("free", connect)) == [429, 429]
        assert await limited.statuses(*(of("staff") for _ in range(5))) == [200] * 5
        assert limited.counts() == [(4, 4, 5)]


async def test_the_fields_are_those_of_the_tier() -> None:
    """Under the one name that the rule has."""
    for limited in Plans().ways():
        exchange = await of("paid").run(limited.app)
        assert exchange.headers["ratelimit-policy"] == '"plan";q=3;w=3600'
        assert (await of("free").run(limited.app)).headers["ratelimit"].startswith('"plan";r=0;')
        assert "ratelimit" not in (await of("staff").run(limited.app)).headers


async def test_an_answer_holds_for_a_while() -> None:
    """For each key by itself, and no longer."""
    plans = Plans()
    for limited in plans.ways(quota_ttl=10.0):
        plans.asked.clear()
        for _ in range(3):
            await limited.statuses(of("paid"), of("free"))
        assert plans.asked == ["paid", "free"]
        limited.clock.advance(9.9)
        await limited.statuses(of("paid"))
        assert plans.asked == ["paid", "free"]
        limited.clock.advance(0.2)
        await limited.statuses(of("paid"), of("paid"))
        assert plans.asked == ["paid", "free", "paid"]


async def test_an_answer_may_hold_for_no_time_at_all() -> None:
    """Then every request asks."""
    plans = Plans()
    for limited in plans.ways(quota_ttl=0):
        plans.asked.clear()
        await limited.statuses(of("paid"), of("paid"))
        assert plans.asked == ["paid", "paid"]


async def test_what_was_used_carries_over() -> None:
    """Into a quota of the same period, larger or smaller; refused hits were never charged."""
    for algorithm in ("sliding-window", "fixed-window"):
        plans = Plans()
        for limited in plans.ways(quota_ttl=0, algorithm=algorithm):
            left = []
            for quota in ("4/hour", "4/hour", "10/hour", "2/hour", "4/hour", "100/day"):
                plans.quotas["ann"] = quota
                exchange = await of("ann").run(limited.app)
                state = exchange.headers["ratelimit"].split(";")[1]
                left.append((exchange.status, int(state.removeprefix("r="))))
            assert left == [(200, 3), (200, 2), (200, 7), (429, 0), (200, 0), (200, 99)]


async def test_requests_of_one_key_ask_once() -> None:
    """However many come while the answer is on its way; other keys wait for nobody."""
    plans = Plans()
    plans.go.clear()
    limited = plans.ways()[1]
    waiting = [asyncio.create_task(of(who).run(limited.app)) for who in ["paid"] * 20 + ["free"]]
    await asyncio.sleep(0.01)
    assert plans.asked == ["paid", "free"]
    plans.go.set()
    statuses = [each.status for each in await asyncio.gather(*waiting)]
    assert sorted(statuses[:20]) == [200] * 3 + [429] * 17
    assert statuses[20] == 200


async def test_who_goes_away_takes_no_answer_with_them() -> None:
    """The first request of a key may be cancelled, and even all of them."""
    plans = Plans()
    plans.go.clear()
    limited = plans.ways()[1]
    first, *others = (asyncio.create_task(of("paid").run(limited.app)) for _ in range(3))
    await asyncio.sleep(0.01)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert first.cancelled()
    plans.go.set()
    assert [each.status for each in await asyncio.gather(*others)] == [200, 200]
    assert plans.asked == ["paid"]


async def test_an_error_that_nobody_waits_for_is_nobodys() -> None:
    """Not even the event loop complains of it."""
    said: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))

    async def fail(scope: Any) -> str:
        await asyncio.sleep(0.01)
        raise OSError("out")

    limited = Limited(Rule(fail, name="plan"))
    request = asyncio.create_task(get().run(limited.app))
    await asyncio.sleep(0)
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    await asyncio.sleep(0.03)
    assert said == []
    with pytest.raises(OSError, match="out"):
        await get().run(limited.app)


async def test_an_error_is_the_apps_where_nothing_else_is_set() -> None:
    """No silent limit, and no silent lack of one; whoever waits for it gets it too."""
    plans = Plans()
    for limited in plans.ways():
        plans.error = OSError("database")
        outcomes = await asyncio.gather(
            *(of("paid").run(limited.app) for _ in range(3)), return_exceptions=True
        )
        assert [repr(each) for each in outcomes] == ["OSError('database')"] * 3
        plans.error = None
        assert await limited.statuses(of("paid")) == [200]
        assert limited.counts() == [(1, 0, 0)]


async def test_a_default_holds_where_the_function_fails(caplog: pytest.LogCaptureFixture) -> None:
    """For who is not known; the others keep their tiers, and nobody asks again at once."""
    plans = Plans()
    for limited in plans.ways(quota_ttl=10.0, default_quota="2/hour"):
        caplog.clear()
        assert await limited.statuses(of("paid"), of("staff")) == [200, 200]
        limited.clock.advance(11)
        plans.error, plans.asked = OSError("out " * 100), []
        assert await limited.statuses(of("paid"), of("paid"), of("paid")) == [200, 200, 429]
        assert await limited.statuses(*(of("staff") for _ in range(5))) == [200] * 5
        assert await limited.statuses(of("new"), of("new"), of("new")) == [200, 200, 429]
        assert plans.asked == ["paid", "staff", "new"]
        limited.clock.advance(1.1)
        plans.error = None
        plans.quotas["new"] = "4/hour"
        assert await limited.statuses(of("paid"), of("staff")) == [429, 200]
        assert await limited.statuses(of("new"), of("new"), of("new")) == [200, 200, 429]
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "rule 'plan' fails" in record.message
        assert len(record.message) < 500


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        (5, TypeError, "returned 5; allowed: a quota such as"),
        (True, TypeError, "returned True"),
        (["5/minute"], TypeError, "returned"),
        ("often", ValueError, "returned a wrong quota: Rule.quota is 'often'; allowed"),
        ("5/minute;6/hour", ValueError, "one quota to a rule"),
        (Quota(5, 60.0, burst=9), ValueError, "Rule.algorithm is 'fixed-window'"),
    ],
)
async def test_a_wrong_answer_names_the_function(
    answer: Any, error: type[Exception], says: str
) -> None:
    """Before anything is charged; with a default, that holds."""
    plans = Plans(ann=answer)
    for ask in (plans.now, plans.later):
        plan = Rule(ask, name="plan", key=WHO, algorithm="fixed-window", path="/x")
        limited = Limited("1/hour", plan)
        with pytest.raises(error, match=says) as raised:
            await of("ann", path="/x").run(limited.app)
        assert f"quota function tests.rate_limit.test_tiers.Plans.{ask.__name__} " in str(
            raised.value
        )
        assert await limited.statuses(of("ann"), of("ann")) == [200, 429]
    for limited in plans.ways(default_quota="1/hour", algorithm="fixed-window"):
        assert await limited.statuses(of("ann"), of("ann")) == [200, 429]


async def test_a_burst_of_a_tier_is_a_token_bucket() -> None:
    """Of the tier, or of the rule and then of all tiers."""
    plans = Plans(bucket=Quota(60, 60.0, burst=2))
    for limited in plans.ways():
        assert await limited.statuses(*(of("bucket") for _ in range(3))) == [200, 200, 429]
        limited.clock.advance(1.1)
        assert await limited.statuses(*(of("bucket") for _ in range(2))) == [200, 429]
    for limited in plans.ways(burst=2):
        assert await limited.statuses(*(of("free") for _ in range(3))) == [200, 200, 429]


async def test_tiers_go_with_costs_and_exemptions() -> None:
    """What costs more than a tier ever holds is refused without a time to come back at."""
    for limited in Plans().ways(cost=2, exempt=["/health"]):
        assert await limited.statuses(of("paid"), of("paid")) == [200, 429]
        assert "retry-after" not in (await of("free").run(limited.app)).headers
        assert await limited.statuses(of("free", path="/health")) == [200]
        assert limited.counts() == [(1, 2, 1)]


async def test_a_tier_is_made_once() -> None:
    """Whoever has it, and however often it is asked for."""
    made: list[str] = []

    class Watched(MemoryStore):
        def counter(
            self, rule: str, quota: Quota, algorithm: Any = "sliding-window", **more: Any
        ) -> Any:
            made.append(rule)
            return super().counter(rule, quota, algorithm, **more)

    plans = Plans(ann="7/minute", bob="7/minute")
    limited = Limited(Rule(plans.now, name="plan", key=WHO, quota_ttl=0), store=Watched())
    made.clear()
    await limited.statuses(of("ann"), of("bob"), of("ann"))
    assert made.count("plan") == 1  # and a spare for when it is out, in a store of ours


async def test_memory_is_bounded() -> None:
    """For keys, for quotas, and for periods: of those there is an end."""
    rule = Rule(lambda scope: scope["quota"], name="plan", quota_ttl=60.0)
    run: Any = object
    tiers = Tiers(rule, rule.quota, lambda tier: run(), lambda: 0.0)  # type: ignore[arg-type]
    for number in range(25_000):
        await tiers.of(http_scope(quota=f"{number % 5000 + 1}/hour"), str(number))
    assert len(tiers._answers) <= 10_000
    assert len(tiers._tiers) <= 1000
    for number in range(999):
        await tiers.of(http_scope(quota=Quota(1, 1.0 + number)), "ann")
        await tiers.of(http_scope(quota=Quota(1, 1.0 + number)), f"ann {number}")
    with pytest.raises(ValueError, match="at most 1000 periods in all quotas of a rule"):
        await tiers.of(http_scope(quota=Quota(1, 5000.0)), "eve")
    assert await tiers.of(http_scope(quota=Quota(2, 1.0)), "eve") is not None


def test_the_latest_are_remembered() -> None:
    """At least half as many as there is room for; who is asked for stays among them."""
    recent = Recent[int](10)
    for number in range(100):
        recent.keep(str(number), number)
        assert recent.get("0") == 0
        assert [recent.get(str(each)) for each in range(max(0, number - 3), number + 1)] == [
            *range(max(0, number - 3), number + 1)
        ]
        assert len(recent) <= 10
    assert recent.get("50") is None


def test_what_is_kept_again_pushes_nobody_out() -> None:
    """It needs no more room."""
    recent = Recent[int](2)
    recent.keep("ann", 1)
    for number in range(5):
        recent.keep("bob", number)
    assert (recent.get("bob"), recent.get("ann")) == (4, 1)


async def test_tiers_hold_on_redis(redis_server: RedisServer) -> None:
    """What was used carries over there as well."""
    plans = Plans()
    plan = Rule(plans.later, name="plan", key=WHO, quota_ttl=0)
    limited = on_redis(plan, url=redis_server.url)
    assert await limited.statuses(*(of("paid") for _ in range(4))) == [200, 200, 200, 429]
    plans.quotas["paid"] = "4/hour"
    assert await limited.statuses(of("paid"), of("paid"), of("free")) == [200, 429, 200]
    assert await limited.statuses(of("staff")) == [200]
    assert limited.counts() == [(5, 2, 1)]
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


async def test_tiers_are_counted_here_while_the_store_is_out() -> None:
    """Each with its share of its own quota."""
    plans = Plans(large="6/hour")
    plan = Rule(plans.now, name="plan", key=WHO)
    limited = Limited(plan, store="redis://127.0.0.1:1", workers=2)
    assert await limited.statuses(*(of("large") for _ in range(4))) == [200, 200, 200, 429]
    assert await limited.statuses(*(of("paid") for _ in range(3))) == [200, 200, 429]
    await limited.layer.aclose()


def test_it_works_in_one_loop_after_another() -> None:
    """Nothing of the first one is waited for in the second."""
    plans = Plans()
    limited = plans.ways(quota_ttl=0)[1]
    assert [asyncio.run(limited.statuses(of("paid"))) for _ in range(4)] == [
        [200],
        [200],
        [200],
        [429],
    ]


def test_the_default_must_be_what_the_store_can_count() -> None:
    """Known when the guard is made, not when the function fails."""

    class NoBuckets(MemoryStore):
        def counter(
            self, rule: str, quota: Quota, algorithm: Any = "sliding-window", **more: Any
        ) -> Any:
            if algorithm == "token-bucket":
                raise ConfigurationError("Rule.algorithm", algorithm, "windows")
            return super().counter(rule, quota, algorithm, **more)

    plan = Rule(ask, name="plan", default_quota=Quota(1, 1.0, burst=2))
    with pytest.raises(ConfigurationError, match=r"Rule\.algorithm"):
        RateLimit(plan, store=NoBuckets())


def ask(scope: Any) -> str:
    """Return a quota."""
    return "1/hour"


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Rule(ask), "Rule.name"),
        (lambda: Rule(str, name="x"), "Rule.quota"),
        (lambda: Rule(lambda: "1/hour", name="x"), "Rule.quota"),  # type: ignore[misc,arg-type]
        (lambda: Rule(5, name="x"), "Rule.quota"),  # type: ignore[arg-type]
        (lambda: Rule(ask, name="x", quota_ttl=-1), "Rule.quota_ttl"),
        (lambda: Rule(ask, name="x", quota_ttl=float("nan")), "Rule.quota_ttl"),
        (lambda: Rule(ask, name="x", default_quota="often"), "Rule.default_quota"),
        (lambda: Rule(ask, name="x", default_quota=ask), "Rule.default_quota"),  # type: ignore[arg-type]
        (lambda: Rule("1/hour", default_quota="1/hour"), "Rule.default_quota"),
        (lambda: Rule(ask, name="x", burst=0), "Rule.burst"),
        (lambda: Rule(ask, name="x", burst=5, algorithm="fixed-window"), "Rule.algorithm"),
        (
            lambda: Rule(
                ask, name="x", algorithm="fixed-window", default_quota=Quota(1, 1.0, burst=2)
            ),
            "Rule.algorithm",
        ),
        (lambda: RateLimit(Rule(ask, name="x", algorithm="moving-window")), "Rule.algorithm"),
        (lambda: RateLimit(Rule(ask, name="x"), Rule(ask, name="x")), "Rule.name"),
    ],
)
def test_a_wrong_setting_is_named(make: Any, field: str) -> None:
    """When the rule is made."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert raised.value.field == field
