"""The switch: off, every request passes as if there were no limit."""

import asyncio
import logging
from typing import Any

import pytest

from asgi_guard import ConfigurationError, MemoryStore, RateLimit, Rule, Switch
from asgi_guard.testing import FakeClock
from tests.driver import connect, get
from tests.rate_limit.limiting import Limited, on_redis
from tests.stores.redis_server import RedisServer


class SlowStore(MemoryStore):
    """Counters that are asked like those of a server."""


RULES: list[Any] = [
    ["1/hour"],
    ["1/hour", "2/hour"],
    [Rule("1/hour", shadow=True), "1/day"],
    [Rule(lambda scope: "1/hour", name="tiered")],
]


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("is_remote", [False, True])
async def test_while_it_is_off_every_request_passes(rules: Any, is_remote: bool) -> None:
    """Uncounted, uncharged and without fields; then it goes on from where it was."""
    switch = Switch()
    store = SlowStore(clock=FakeClock(0.0)) if is_remote else None
    limited = Limited(*rules, store=store, switch=switch)
    switch.off()
    assert not switch.is_on()
    for request in (get(), get(), get(), connect()):
        exchange = await request.run(limited.app)
        assert exchange.status == 200
        assert "ratelimit" not in exchange.headers
    assert limited.counts() == [(0, 0, 0)] * len(rules)
    switch.on()
    assert switch.is_on()
    assert await limited.statuses(get(), get(), connect()) == [200, 429, 429]
    switch.off()
    assert await limited.statuses(get()) == [200]
    switch.on()
    assert await limited.statuses(get()) == [429]


async def test_one_switch_may_turn_several_guards_off() -> None:
    """And another has nothing to do with them."""
    switch = Switch()
    ours = [Limited("1/hour", switch=switch) for _ in range(2)]
    other = Limited("1/hour", switch=Switch())
    switch.off()
    for limited in ours:
        assert await limited.statuses(get(), get()) == [200, 200]
    assert await other.statuses(get(), get()) == [200, 429]


async def test_a_store_is_not_asked_while_it_is_off(redis_server: RedisServer) -> None:
    """So that it may be down meanwhile."""
    switch = Switch()
    limited = on_redis("1/hour", url=redis_server.url, switch=switch)
    switch.off()
    assert await limited.statuses(get(), get()) == [200, 200]
    assert redis_server.calls("eval") + redis_server.calls("evalsha") == 0
    switch.on()
    await get().run(limited.app)
    assert redis_server.calls("eval") + redis_server.calls("evalsha") > 0
    await limited.layer.aclose()
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


async def test_who_connects_while_it_is_off_is_limited_when_it_is_on_again() -> None:
    """A websocket may stay open for days."""
    switch = Switch()
    limiting = RateLimit("1/hour", messages=["2/hour"], switch=switch)
    came: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not came or came[-1] == "websocket.receive":
            if len(came) == 3:
                switch.on()
            came.append((await receive())["type"])

    exchange = connect()
    for _ in range(7):
        exchange.say({"type": "websocket.receive", "text": "hello"})
    exchange.say({"type": "websocket.disconnect", "code": 1001})
    switch.off()
    await exchange.run(limiting(app))
    assert came == ["websocket.receive"] * 5 + ["websocket.disconnect"]


async def test_it_may_be_thrown_from_a_thread() -> None:
    """An operator's console, say."""
    switch = Switch()
    limited = Limited("1/hour", switch=switch)
    await asyncio.to_thread(switch.off)
    assert await limited.statuses(get(), get()) == [200, 200]


def test_each_change_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """As a warning; what changes nothing is not."""
    switch = Switch()
    with caplog.at_level(logging.DEBUG, logger="asgi_guard"):
        switch.on()
        for _ in range(2):
            switch.off()
        for _ in range(2):
            switch.on()
    assert caplog.record_tuples == [
        ("asgi_guard", logging.WARNING, "rate limit: switched off, every request passes"),
        ("asgi_guard", logging.WARNING, "rate limit: switched on again"),
    ]


@pytest.mark.parametrize("wrong", [True, False, "off", Switch])
def test_a_wrong_switch_is_named(wrong: Any) -> None:
    """A flag is none: nobody could throw it."""
    with pytest.raises(ConfigurationError, match=r"RateLimit\.switch is .*; allowed: a Switch"):
        RateLimit("1/hour", switch=wrong)
