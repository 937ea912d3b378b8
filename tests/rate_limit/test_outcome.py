"""Charging by outcome: what does not count is given back, and nobody slips through."""

import asyncio
import gc
import logging
from typing import Any

import pytest

from asgi_guard import (
    ConfigurationError,
    MemoryStore,
    Quota,
    RateLimit,
    Rule,
    StoreUnavailable,
    rate_limited,
)
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.shell import Shell
from asgi_guard.testing import FakeClock
from tests.driver import connect, get
from tests.stores.redis_server import RedisServer

ALGORITHMS = ("sliding-window", "fixed-window", "token-bucket")
LONG = 1e7  # seconds; the windows of a server's clock should not end in a test
LOGIN: Any = {"name": "failed", "count_when": {401, 403}}


class SlowStore(MemoryStore):
    """Counters that are asked like those of a server."""


async def by_path(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the status that a path ends with; 0 raises, 1 waits for ever."""
    status = int(scope["path"].rsplit("/", 1)[1].partition("?")[0])
    await asyncio.sleep(0)
    if status == 0:
        raise LookupError
    if status == 1:
        await asyncio.Event().wait()
    if "denied" in scope["path"]:
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b""})
        return
    if scope["type"] == "websocket":
        kind = "websocket.accept" if status == 101 else "websocket.close"
        await send({"type": kind})
        return
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Served:
    """That app behind rules."""

    def __init__(self, *rules: Rule | str, store: Any = None, **more: Any) -> None:
        self.clock = FakeClock(0.0)
        settings = RateLimit(
            *rules, store=MemoryStore(clock=self.clock) if store is None else store, **more
        )
        self.layer = RateLimitLayer(settings)
        self.app = Shell(settings, by_path, [self.layer])

    async def statuses(self, *statuses: int) -> list[int]:
        """Ask for statuses one after the other; return what came."""
        return [(await get(f"/{each}").run(self.app)).status for each in statuses]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("is_remote", [False, True])
@pytest.mark.parametrize("count_when", [{401, 403}, lambda status: status in {401, 403}])
async def test_only_these_outcomes_are_charged(
    algorithm: Any, is_remote: bool, count_when: Any
) -> None:
    """When they have used the quota up, everything is refused."""
    store = SlowStore(clock=FakeClock(0.0)) if is_remote else None
    rule = Rule("2/hour", algorithm=algorithm, count_when=count_when)
    served = Served(rule, store=store)
    for status in [200] * 5 + [401] + [200, 404, 500] * 3 + [403]:
        assert await served.statuses(status) == [status]
        await asyncio.sleep(0)  # what is given back to a store is on its way
    assert await served.statuses(200, 401) == [429, 429]


async def test_attempts_at_the_same_time_do_not_slip_through() -> None:
    """However many they are: they were charged before the app saw them."""
    served = Served(Rule("3/hour", **LOGIN))
    together = await asyncio.gather(*(get("/401").run(served.app) for _ in range(50)))
    assert sorted(each.status for each in together) == [401] * 3 + [429] * 47


async def test_what_another_rule_refuses_owes_nothing() -> None:
    """And a shadow rule gives back what it took, but not what it refused."""
    shadow = Rule("1/hour", name="shadow", shadow=True, count_when={401})
    served = Served(shadow, Rule("2/hour", **LOGIN), Rule("3/hour", path="/200"))
    assert await served.statuses(200, 200, 200, 200, 401) == [200, 200, 200, 429, 401]
    assert await served.statuses(401, 404) == [401, 429]
    assert [each.shadow_denied for each in served.layer.snapshot()] == [1, 0, 0]


@pytest.mark.parametrize(("path", "status"), [("/0", 500), ("/1", 499)])
@pytest.mark.parametrize("counts", [True, False])
async def test_who_got_no_response_has_a_status_as_well(
    path: str, status: int, counts: bool
) -> None:
    """500 where the app failed, and 499 where the request was cancelled."""
    served = Served(Rule("1/hour", name="x", count_when={status if counts else 418}))
    with pytest.raises((LookupError, TimeoutError)):
        async with asyncio.timeout(0.02):
            await get(path).run(served.app)
    assert await served.statuses(200) == [429 if counts else 200]


@pytest.mark.parametrize(("path", "status"), [("/101", 101), ("/403", 403)])
@pytest.mark.parametrize("counts", [True, False])
async def test_a_handshake_has_an_outcome(path: str, status: int, counts: bool) -> None:
    """Accepted or not."""
    served = Served(Rule("1/hour", name="x", count_when={status if counts else 418}))
    await connect(path).run(served.app)
    assert await served.statuses(200) == [429 if counts else 200]


@pytest.mark.parametrize("status", [401, 404])
async def test_a_denied_handshake_has_the_status_of_its_denial(status: int) -> None:
    """Passwords can be tried by websockets as well."""
    served = Served(Rule("1/hour", name="failed", count_when={401}))
    assert (await connect(f"/{status}?denied").run(served.app)).status == status
    assert await served.statuses(200) == [429 if status == 401 else 200]


def test_a_request_that_outlives_its_loop_ends_in_peace() -> None:
    """There is nobody to take units to the store, and what others do at its end goes on."""
    served = Served(Rule("1/hour", **LOGIN), store=SlowStore(clock=FakeClock(0.0)))
    request = get("/1")
    loop = asyncio.new_event_loop()
    handling = served.app(request.scope, request.receive, request.send)

    async def begin() -> None:
        waits: Any = handling.send(None)
        while waits is None or not str(waits).startswith("<Future"):
            waits = handling.send(None)

    loop.run_until_complete(begin())
    loop.close()
    assert any(key.startswith("asgi_guard.") for key in request.scope)
    handling.close()
    assert not any(key.startswith("asgi_guard.") for key in request.scope)


async def test_a_function_that_fails_charges_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The response is out: nobody else could be told."""
    served = Served(Rule("2/hour", name="x", count_when=lambda status: status < 1 // 0))
    with caplog.at_level(logging.WARNING, logger="asgi_guard"):
        assert await served.statuses(200, 200, 200) == [200, 200, 429]
    (line,) = caplog.messages
    assert "count_when of rule 'x' fails" in line


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_outcomes_count_on_redis(redis_server: RedisServer, algorithm: Any) -> None:
    """What is on its way back when the app shuts down arrives."""
    quota = Quota(2, LONG)
    store = RedisStore(redis_server.url)
    rule = Rule(quota, algorithm=algorithm, **LOGIN)
    served = Served(rule, store=store, store_timeout=5.0)
    assert await served.statuses(401, 200) == [401, 200]
    await served.layer.aclose()
    counter = store.counter("failed", quota, algorithm)
    (decision,) = await store.hit([(counter, "192.0.2.1", 0)], within=5.0)
    assert decision.remaining == 1
    assert await served.statuses(403, 200) == [403, 429]
    await served.layer.aclose()
    await store.aclose()


async def test_a_charge_is_as_old_as_its_question() -> None:
    """Or it would be looked for in a window that began while the answer was on its way."""
    ages: list[float] = []

    class FarStore(MemoryStore):
        async def hit(self, charges: Any, **more: Any) -> Any:
            decisions = await super().hit(charges, **more)
            await asyncio.sleep(0.02)
            return decisions

        async def give_back(self, charges: Any, *, age: float, **more: Any) -> None:
            ages.append(age)

    served = Served(Rule("1/hour", **LOGIN), store=FarStore(clock=FakeClock(0.0)))
    assert await served.statuses(200) == [200]
    await served.layer.aclose()
    assert ages[0] >= 0.02


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_outcomes_count_beside_leases(redis_server: RedisServer, algorithm: Any) -> None:
    """What is given back goes to Redis, for all workers, wherever it was taken from."""
    quota = Quota(100, LONG)
    store = RedisStore(redis_server.url)
    rule = Rule(quota, algorithm=algorithm, lease=10, **LOGIN)
    served = Served(rule, store=store, store_timeout=5.0)
    statuses = [200, 401, 200] * 9
    assert await served.statuses(*statuses) == statuses
    await served.layer.aclose()
    counter = store.counter("failed", quota, algorithm)
    (decision,) = await store.hit([(counter, "192.0.2.1", 0)], within=5.0)
    assert decision.remaining == 100 - 9
    together = await asyncio.gather(*(get("/401").run(served.app) for _ in range(150)))
    assert sum(each.status == 401 for each in together) in range(91 - 9, 92)
    await served.layer.aclose()
    await store.aclose()


async def test_outcomes_count_while_the_store_is_out() -> None:
    """In the counters of this process."""
    store = RedisStore("redis://127.0.0.1:1")
    served = Served(Rule("1/hour", **LOGIN), store=store)
    assert await served.statuses(200, 200, 401, 200) == [200, 200, 401, 429]
    await served.layer.aclose()
    await store.aclose()


class ShakyStore(MemoryStore):
    """Counters that can be out, and never get to the end of giving back where they hang."""

    is_out = False
    hangs = False
    returns = 0

    async def hit(self, charges: Any, **more: Any) -> Any:
        """Charge counters, unless they are out."""
        if self.is_out:
            raise StoreUnavailable("gone")
        return await super().hit(charges, **more)

    async def give_back(self, charges: Any, **more: Any) -> None:
        """Undo charges, unless they are out."""
        self.returns += 1
        if self.is_out:
            raise StoreUnavailable("gone")
        if self.hangs:
            await asyncio.Event().wait()
        await super().give_back(charges, **more)


async def test_what_counts_is_known_here_when_the_store_goes_out() -> None:
    """Once each, and only what counts."""
    store = ShakyStore(clock=FakeClock(0.0))
    served = Served(Rule("4/hour", **LOGIN), store=store)
    assert await served.statuses(401, 200) == [401, 200]
    store.is_out = True
    assert await served.statuses(401, 200, 401, 200, 401, 401) == [401, 200, 401, 200, 401, 429]
    await served.layer.aclose()


async def test_what_is_given_back_here_leaves_the_window_it_was_charged_in() -> None:
    """A request may take longer than its window."""
    served = Served(Rule("2/100 seconds", **LOGIN))
    slow = asyncio.ensure_future(get("/1").run(served.app))
    await asyncio.sleep(0)
    served.clock.advance(100.0)
    assert await served.statuses(401) == [401]
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert await served.statuses(401, 401) == [401, 429]


async def test_returns_are_so_many_and_no_longer_than_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that does not answer gets no heap of them, and the app can shut down."""
    monkeypatch.setattr("asgi_guard.rate_limit.returns._MOST", 2)
    store = ShakyStore(clock=FakeClock(0.0))
    store.hangs = True
    served = Served(Rule("9/hour", **LOGIN), store=store, store_timeout=0.2)
    assert await served.statuses(200, 200, 200, 200, 200) == [200] * 5
    await asyncio.sleep(0)
    assert store.returns == 2
    async with asyncio.timeout(5):
        await served.layer.aclose()
    assert await served.statuses(401, 401, 401, 401, 401) == [401] * 4 + [429]
    gc.collect()
    assert not caplog.records


async def test_a_shadow_gives_nothing_back_that_it_would_have_refused() -> None:
    """It has charged nothing for it."""
    served = Served(Rule("1/hour", shadow=True, **LOGIN))
    await served.statuses(401, 200, 401)
    (counts,) = served.layer.snapshot()
    assert (counts.allowed, counts.shadow_denied) == (1, 2)


async def test_a_return_that_fails_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Its units fade."""
    store = ShakyStore(clock=FakeClock(0.0))
    served = Served(Rule("9/hour", **LOGIN), store=store)
    assert await served.statuses(200) == [200]
    store.is_out = True
    await served.layer.aclose()
    gc.collect()
    assert store.returns == 1
    assert not caplog.records


async def later(status: int) -> bool:
    """Return what nobody waits for."""
    return True


@pytest.mark.parametrize(
    "wrong", [401, [401], set(), {"401"}, {99}, {600}, {True}, "401", later, lambda: True]
)
def test_a_wrong_outcome_is_named(wrong: Any) -> None:
    """When the rule is made."""
    with pytest.raises(ConfigurationError, match=r"Rule\.count_when is .*; allowed: a set of stat"):
        Rule("1/hour", count_when=wrong)


def test_where_nothing_can_be_given_back_it_is_refused() -> None:
    """Stores of limits, and functions that see no response."""
    with pytest.raises(ConfigurationError, match=r"Rule\.count_when .* store cannot give back"):
        RateLimit(Rule("1/hour", **LOGIN), store="async+memory://")
    with pytest.raises(ConfigurationError, match=r"Rule\.count_when .* a function is limited"):
        rate_limited(Rule("1/hour", **LOGIN))


async def test_redis_takes_units_from_the_window_they_were_charged_in(
    redis_server: RedisServer,
) -> None:
    """By the age of the charge: what was charged since stays."""
    period = 2.0
    store = RedisStore(redis_server.url)
    counter = store.counter("rule", Quota(4, period))
    await until(redis_server, 0.4, period)
    began = asyncio.get_running_loop().time()
    await store.hit([(counter, "ann", 4)], within=5.0)
    await until(redis_server, 0.1, period)
    age = asyncio.get_running_loop().time() - began
    await store.hit([(counter, "ann", 1)], within=5.0)
    await store.give_back([(counter, "ann", 4)], age=age, within=5.0)
    (decision,) = await store.hit([(counter, "ann", 0)], within=5.0)
    assert decision.remaining == 3
    await store.aclose()


async def until(server: RedisServer, share: float, period: float) -> None:
    """Wait until so much of a window is over, on the clock of the server."""
    with server.control() as control:
        seconds, micros = control.time()
    await asyncio.sleep((share * period - (seconds + micros / 1e6)) % period)
