"""A swap: whom it is for, what is refused, and from where it may be called."""

import asyncio
import logging
import sys
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from asgi_guard import (
    CircuitBreaker,
    CircuitOpen,
    ConcurrencyLimit,
    ConfigurationError,
    Guard,
    Health,
    MemoryStore,
    Metrics,
    RateLimit,
    Rule,
    Swappable,
    Switch,
    TrustedProxies,
)
from asgi_guard.testing import FakeClock
from tests.driver import connect, get, hello
from tests.swappable.swapping import Lobby, limited, statuses


async def test_the_new_limit_holds_at_once() -> None:
    """And again the old one, after a swap back."""
    swappable = Swappable(limited(5))
    app = swappable(hello)
    assert await statuses(app, 3) == [200] * 3
    swappable.swap(limited(4))
    assert await statuses(app, 2) == [200, 429]
    swappable.swap(limited(5))
    assert await statuses(app, 2) == [200, 429]
    swappable.swap(Guard())
    assert await statuses(app, 2) == [200, 200]


async def test_every_app_it_wrapped_gets_the_new_guard() -> None:
    """Each with counters of its own; an app that is wrapped later as well."""
    swappable = Swappable(limited(2))
    first, second = swappable(hello), swappable(app=hello)
    assert await statuses(first, 3) == [200, 200, 429]
    swappable.swap(limited(1))
    third = swappable(hello)
    for app in (second, third):
        assert await statuses(app, 2) == [200, 429]
    assert await statuses(first, 1) == [429]


async def test_the_current_guard_can_be_asked_for() -> None:
    """To derive the next from it, and to show it."""
    first, second = limited(1), limited(2)
    swappable = Swappable(first)
    assert swappable.current is first
    swappable.swap(second)
    assert swappable.current is second
    assert "2/hour" in repr(swappable)
    assert "1/hour" not in repr(swappable)


@pytest.mark.parametrize("wrong", [None, RateLimit("1/hour"), Guard, "300/minute"])
async def test_what_is_no_guard_is_refused(wrong: Any) -> None:
    """Then the old one stays at work."""
    with pytest.raises(ConfigurationError, match=r"Swappable\.guard is .*; allowed: a Guard"):
        Swappable(wrong)
    swappable = Swappable(limited(1))
    app = swappable(hello)
    with pytest.raises(ConfigurationError, match=r"Swappable\.guard is .*; allowed: a Guard"):
        swappable.swap(wrong)
    assert await statuses(app, 2) == [200, 429]


async def test_a_guard_that_cannot_be_put_round_all_apps_is_put_round_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever goes wrong on the way: all apps have the same guard."""
    swappable = Swappable(limited(1))
    apps = [swappable(hello), swappable(hello)]
    stores = 0

    class Odd(MemoryStore):
        def counter(self, *rule: Any, **more: Any) -> Any:
            nonlocal stores
            stores += 1
            if stores > 2:  # once when it is made, once for the first app
                raise ConfigurationError("Rule.name", rule, "something else")
            return super().counter(*rule, **more)

    before = swappable.current
    with pytest.raises(ConfigurationError, match=r"Rule\.name"):
        swappable.swap(limited(9, store=Odd(), on_store_failure="admit"))
    assert swappable.current is before
    for app in apps:
        assert await statuses(app, 2) == [200, 429]


async def test_requests_in_flight_finish_where_they_began() -> None:
    """Their answers are made by the stack that admitted them."""
    inside = asyncio.Event()

    async def fail_later(scope: Any, receive: Any, send: Any) -> None:
        await inside.wait()
        raise CircuitOpen("no", 1.0, "payments")

    swappable = Swappable(Guard(breakers=[CircuitBreaker("payments")]))
    app = swappable(fail_later)
    task = asyncio.create_task(get().run(app))
    await asyncio.sleep(0)
    swappable.swap(Guard())
    inside.set()
    assert (await task).status == 503
    with pytest.raises(CircuitOpen):
        await get().run(app)


async def test_a_charge_is_given_back_to_where_it_was_made() -> None:
    """By the rules of the time, whatever the new ones say."""
    lobby = Lobby()
    rule = Rule("3/hour", name="all", count_when={401})
    swappable = Swappable(Guard(rate_limit=RateLimit(rule)))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 3)
    swappable.swap(limited(3))
    assert (await get().run(swappable(hello))).status == 200  # of another app, with other counters
    lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 3
    assert await statuses(app, 4) == [200, 200, 200, 429]


async def test_the_old_stack_outside_and_the_new_one_inside_act_once() -> None:
    """A request that is on its way to a mounted app when the guard is swapped."""
    swappable = Swappable(limited(1, store=MemoryStore()))

    async def swap_between(scope: Any, receive: Any, send: Any) -> None:
        swappable.swap(limited(1, store=store))
        await inner(dict(scope), receive, send)

    store = MemoryStore()
    inner = swappable(hello)
    exchange = await get().run(swappable(swap_between))
    assert exchange.status == 200
    assert not len(store)
    names = [name for name, _ in exchange.starts[0]["headers"]]
    assert len(names) == len(set(names))


async def test_it_is_middleware_for_frameworks() -> None:
    """Round the app, and round a mounted one as well; an endpoint of the app may swap."""
    swappable = Swappable(limited(2))

    def widen(request: Any) -> PlainTextResponse:  # which Starlette runs in a thread
        swappable.swap(limited(4))
        return PlainTextResponse("done")

    inner = Starlette(routes=[Route("/a", lambda request: PlainTextResponse("a"))])
    inner.add_middleware(swappable)
    app = Starlette(routes=[Mount("/in", inner), Route("/widen", widen, methods=["POST"])])
    app.add_middleware(swappable)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        assert (await client.get("/in/a")).status_code == 200
        assert (await client.post("/widen")).status_code == 200
        assert [(await client.get("/in/a")).status_code for _ in range(3)] == [200, 200, 429]


async def test_a_swap_may_come_from_a_thread() -> None:
    """While requests go on; each of them meets the one or the other."""
    swappable = Swappable(limited(10**6))
    app = swappable(hello)
    is_over = asyncio.Event()

    async def requests() -> int:
        count = 0
        while not is_over.is_set():
            assert (await get().run(app)).status == 200
            count += 1
        return count

    running = asyncio.create_task(requests())

    def swap_often() -> None:
        for number in range(100):
            swappable.swap(limited(10**6 + number % 2))

    await asyncio.gather(*(asyncio.to_thread(swap_often) for _ in range(2)))
    is_over.set()
    count = await running
    swappable.swap(limited(count))
    assert await statuses(app, 1) == [429]  # every one was counted
    swappable.swap(limited(count + 1))
    assert await statuses(app, 2) == [200, 429]


async def test_a_guard_that_is_equal_changes_nothing() -> None:
    """The same layer goes on, also with what it remembers of clients' plans."""
    asked: list[int] = []

    def plan(scope: Any) -> str:
        asked.append(1)
        return "3/hour"

    settings = RateLimit(Rule(plan, name="plan"))
    swappable = Swappable(Guard(rate_limit=settings))
    app = swappable(hello)
    for _ in range(4):
        await get().run(app)
        swappable.swap(Guard(rate_limit=settings, proxies=TrustedProxies("10.0.0.0/8")))
    assert len(asked) == 1
    assert await statuses(app, 1) == [429]


async def test_checks_that_stay_keep_their_results() -> None:
    """A dependency is not asked more often because a limit has changed."""
    asked: list[str] = []
    checks: dict[str, Any] = {"stays": lambda: asked.append("stays")}
    swappable = Swappable(Guard(health=Health(checks=checks)))
    app = swappable(hello)
    for number in range(3):
        assert (await get("/health").run(app)).status == 200
        more = {"changes": lambda: asked.append("changes")}
        swappable.swap(Guard(health=Health(checks=checks | more), metrics=Metrics(f"/{number}")))
    assert asked == ["stays", "changes", "changes"]


async def test_a_switch_goes_with_its_guard() -> None:
    """One that is off in the new guard lets all pass."""
    switch = Switch()
    swappable = Swappable(limited(1))
    app = swappable(hello)
    assert await statuses(app, 2) == [200, 429]
    switch.off()
    swappable.swap(limited(1, switch=switch))
    assert await statuses(app, 1) == [200]
    switch.on()
    assert await statuses(app, 1) == [429]


async def test_an_open_websocket_keeps_its_limits() -> None:
    """Its messages are counted as when it was opened; those of a new one as they are now."""
    clock = FakeClock(0.0)
    store = MemoryStore(clock=clock)

    def messages(count: int) -> Guard:
        rule = Rule(f"{count}/hour", name="talk")
        return Guard(rate_limit=RateLimit(store=store, messages=[rule], fields=None))

    async def listen(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            scope["heard"] = scope.get("heard", 0) + 1

    swappable = Swappable(messages(3))
    app = swappable(listen)
    early, late = connect(), connect()

    async def say(exchange: Any, count: int) -> None:
        for _ in range(count):
            exchange.say({"type": "websocket.receive", "text": "a"})
        for _ in range(20):
            await asyncio.sleep(0)

    opened = asyncio.create_task(early.run(app))
    await say(early, 1)
    swappable.swap(messages(2))
    await say(early, 1)
    later = asyncio.create_task(late.run(app))
    await say(late, 1)
    assert late.sent[-1]["type"] == "websocket.close"  # one address, and two were heard
    assert "heard" not in late.scope
    await say(early, 2)
    assert early.sent[-1]["code"] == 1008
    assert early.scope["heard"] == 3
    await asyncio.gather(opened, later)


def test_a_swap_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the rules that begin to count: whose names, periods or stores have changed."""
    swappable = Swappable(limited(1))
    swappable(hello)
    with caplog.at_level(logging.DEBUG, logger="asgi_guard"):
        swappable.swap(limited(2))
        swappable.swap(Guard(rate_limit=RateLimit(Rule("2/minute", name="all"), "9/hour")))
        swappable.swap(Guard())
    begun = ["none", "'all', '9/hour'", "none"]
    text = "guard: swapped for another; rules that begin to count: "
    assert caplog.record_tuples == [("asgi_guard", logging.WARNING, text + each) for each in begun]


async def test_a_request_costs_one_call_more() -> None:
    """Than with the same guard by itself: no lock, no task, nothing that is counted."""

    async def calls(app: Any) -> list[str]:
        await get().run(app)  # what is found out once
        seen: list[str] = []
        request = get()
        sys.setprofile(lambda frame, event, _: seen.append(event) if "call" in event else None)
        try:
            await app(request.scope, request.receive, request.send)
        finally:
            sys.setprofile(None)
        return seen

    guard = Guard(
        health=Health(),
        metrics=Metrics(registry=CollectorRegistry()),
        rate_limit=RateLimit("1000/second"),
        concurrency=ConcurrencyLimit(4),
        breakers=[CircuitBreaker("payments")],
    )
    swappable = Swappable(Guard())
    app = swappable(quick_hello)
    swappable.swap(guard)
    by_itself, swapped = await calls(guard(quick_hello)), await calls(app)
    assert len(swapped) - len(by_itself) == 1


async def quick_hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer nothing, so that no other task runs meanwhile."""
