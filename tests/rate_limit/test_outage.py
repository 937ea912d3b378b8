"""When the store fails: no 500, nobody waits, what was chosen holds, and then it is over."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asgi_guard import ConfigurationError, MemoryStore, Quota, RateLimit, Rule, StoreUnavailable
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.rules.rule import OnStoreFailure
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.shell import Shell
from tests.driver import Exchange, get, hello
from tests.faults.proxy import FaultProxy
from tests.stores.redis_server import RedisServer, RedisServers

BUDGET = 0.1  # seconds
SLACK = 0.4  # for a machine that does other things as well


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Clients fail in other ways on other loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server: the faults are the same before all of them."""
    return redis_servers.get("redis-8")


@asynccontextmanager
async def proxied(server: RedisServer) -> AsyncIterator[FaultProxy]:
    """Put a proxy before the server."""
    async with FaultProxy(server.port) as proxy:
        yield proxy


@asynccontextmanager
async def limited(port: int, *rules: Rule | str, **more: Any) -> AsyncIterator["Limited"]:
    """Limit the greeting app by what is counted behind a port."""
    url = f"redis://127.0.0.1:{port}"
    settings = RateLimit(*rules, store=url, store_timeout=BUDGET, **more)
    app = Limited(settings)
    try:
        yield app
    finally:
        await app.layer.aclose()


class Limited:
    """A limited app, and how long its requests took."""

    def __init__(self, settings: RateLimit) -> None:
        self.layer = RateLimitLayer(settings)
        self.app = Shell(settings, hello, [self.layer])
        self.slowest = 0.0

    async def ask(self, path: str = "/") -> Exchange:
        """Send one request."""
        began = time.perf_counter()
        answer = await get(path).run(self.app)
        self.slowest = max(self.slowest, time.perf_counter() - began)
        return answer

    async def statuses(self, count: int) -> list[int]:
        """Send requests one after the other."""
        return [(await self.ask()).status for _ in range(count)]

    @property
    def is_out(self) -> bool:
        """Whether the store is known to be out."""
        return any(outage.is_on for outage in self.layer.outages())

    async def until_back(self) -> float:
        """Wait until the store is asked again; return how long that took."""
        began = time.perf_counter()
        while self.is_out:
            assert time.perf_counter() - began < 5
            await asyncio.sleep(0.01)
        return time.perf_counter() - began


async def _silence(proxy: FaultProxy, _: RedisServer) -> Callable[[], Any]:
    proxy.silence()
    return proxy.heal


async def _slow(proxy: FaultProxy, _: RedisServer) -> Callable[[], Any]:
    proxy.latency = 5.0
    return proxy.heal


async def _refuse(proxy: FaultProxy, _: RedisServer) -> Callable[[], Any]:
    await proxy.refuse()
    return proxy.start


async def _freeze(_: FaultProxy, server: RedisServer) -> Callable[[], Any]:
    server.freeze()
    return server.thaw


async def _memory(_: FaultProxy, server: RedisServer) -> Callable[[], Any]:
    with server.control() as control:
        control.config_set("maxmemory", 1)

    def give() -> None:
        with server.control() as control:
            control.config_set("maxmemory", 0)

    return give


async def _kill(_: FaultProxy, server: RedisServer) -> Callable[[], Any]:
    server.kill()
    return server.revive


FAULTS = {
    "silent": _silence,
    "slow": _slow,
    "refused": _refuse,
    "frozen": _freeze,
    "out of memory": _memory,
    "killed": _kill,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_counting_goes_on_here_and_back_there(fault: Any, server: RedisServer) -> None:
    """From where it was, without an error or a wait, and again in the store soon after."""
    async with proxied(server) as proxy, limited(proxy.port, "5/year") as app:
        assert await app.statuses(2) == [200, 200]
        heal = await fault(proxy, server)
        assert await app.statuses(5) == [200, 200, 200, 429, 429]
        assert app.is_out
        assert app.slowest < BUDGET + SLACK
        healed = heal()
        if healed is not None:
            await healed
        assert await app.until_back() < 2
        left = int((await app.ask()).headers["ratelimit"].split("r=")[1].split(";")[0])
        # A killed server forgets; a silent one may have heard what it was asked in vain.
        assert left == 4 if fault is _kill else left in {1, 2}
        assert app.slowest < BUDGET + SLACK


async def test_lost_connections_are_made_again(server: RedisServer) -> None:
    """A server that closes idle connections, or a proxy that resets them, is no outage for long."""
    async with proxied(server) as proxy, limited(proxy.port, "90/year") as app:
        for _ in range(5):
            assert await app.statuses(3) == [200] * 3
            await proxy.reset()
        assert await app.statuses(3) == [200] * 3
        assert await app.until_back() < 2
        assert app.slowest < BUDGET + SLACK


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("local", [200, 200, 200, 429]),
        ("admit", [200, 200, 200, 200]),
        ("refuse", [503, 503, 503, 503]),
    ],
)
async def test_what_was_chosen_holds(mode: OnStoreFailure, expected: list[int]) -> None:
    """For a store that has never been there, as for one that has gone."""
    async with FaultProxy(1) as proxy:
        await proxy.refuse()
        async with limited(proxy.port, "3/year", on_store_failure=mode) as app:
            assert await app.statuses(4) == expected


async def test_each_rule_may_have_its_own(server: RedisServer) -> None:
    """A login is refused where others are admitted; the answer says to come back."""
    async with proxied(server) as proxy:
        await proxy.refuse()
        login = Rule("5/year", path="/login", on_store_failure="refuse")
        async with limited(proxy.port, "1/year", login, on_store_failure="admit") as app:
            assert [(await app.ask(path)).status for path in ("/", "/", "/login")] == [
                200,
                200,
                503,
            ]
            refused = await app.ask("/login")
            assert refused.headers["retry-after"] == "1"
            assert refused.headers["content-type"] == "application/problem+json"
            assert "ratelimit" not in refused.headers


async def test_workers_share_what_they_admit_alone(server: RedisServer) -> None:
    """Each counts its part of the quota, rounded up."""
    async with proxied(server) as proxy:
        await proxy.refuse()
        async with limited(proxy.port, "10/year", workers=4) as app:
            assert (await app.statuses(5)).count(200) == 3


async def test_a_dead_store_is_left_alone(server: RedisServer) -> None:
    """Requests do not ask it, however many come; one probe after the other does."""
    async with proxied(server) as proxy, limited(proxy.port, "1000000/year") as app:
        await app.statuses(1)
        before = server.calls("evalsha")
        proxy.silence()
        await app.statuses(500)
        proxy.heal()
        await app.until_back()
        assert server.calls("evalsha") - before <= 5


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with its reason, and with no address's secrets."""
    with caplog.at_level(logging.INFO, "asgi_guard"):
        async with proxied(server) as proxy, limited(proxy.port, "1000000/year") as app:
            proxy.silence()
            await app.statuses(50)
            proxy.heal()
            await app.until_back()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 2
    assert "the store is out" in messages[0]
    assert "TimeoutError" in messages[0]
    assert "the store is back" in messages[1]


async def test_who_leaves_while_the_store_is_silent_has_left(server: RedisServer) -> None:
    """A cancelled request is cancelled, and no other is."""
    async with proxied(server) as proxy, limited(proxy.port, "100/year") as app:
        await app.statuses(1)
        proxy.silence()
        leaving = asyncio.ensure_future(app.ask())
        staying = asyncio.ensure_future(app.ask())
        await asyncio.sleep(BUDGET / 5)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert (await staying).status == 200


async def test_a_crowd_that_waits_is_told_together(server: RedisServer) -> None:
    """Whoever came while the store was asked in vain does not wait on top of that."""
    async with proxied(server) as proxy, limited(proxy.port, "1000/year") as app:
        await app.statuses(1)
        proxy.silence()
        tasks = []
        for _ in range(20):
            tasks.append(asyncio.ensure_future(app.ask()))
            await asyncio.sleep(BUDGET / 15)
        assert {each.status for each in await asyncio.gather(*tasks)} == {200}
        assert app.slowest < BUDGET + SLACK


async def test_a_server_far_away_is_asked_once_it_is_connected(server: RedisServer) -> None:
    """To connect takes longer than a decision may; the probe has the time."""
    async with proxied(server) as proxy, limited(proxy.port, "100/year") as app:
        proxy.latency = BUDGET / 4  # each way: connecting takes several such trips
        await app.statuses(1)
        await app.until_back()
        answer = await app.ask()
        assert answer.status == 200
        assert not app.is_out
        assert server.calls("evalsha")


@pytest.mark.parametrize("turn", [0.008, 0.03])
async def test_a_busy_loop_waits_for_no_silent_store_for_ever(
    server: RedisServer, turn: float
) -> None:
    """Every timer is late there; what is put off again and again would never come."""
    store = RedisStore(server.url)
    counter = store.counter("busy", Quota(1000, 3600.0))
    await store.hit([(counter, "ann", 1)])
    with server.frozen():
        asking = asyncio.ensure_future(store.hit([(counter, "ann", 1)], within=0.05))
        for _ in range(100):
            time.sleep(turn)  # noqa: ASYNC251 - as a handler that blocks does
            await asyncio.sleep(0)
            if asking.done():
                break
        with pytest.raises(StoreUnavailable, match="in time"):
            await asking
    await store.aclose()


async def test_who_waits_longer_is_not_given_up_with_others(server: RedisServer) -> None:
    """Limits of several patiences may share a store."""
    store = RedisStore(server.url)
    counter = store.counter("patient", Quota(1000, 3600.0))
    await store.hit([(counter, "ann", 1)])
    with server.frozen():
        short = asyncio.ensure_future(store.hit([(counter, "ann", 1)], within=0.05))
        long = asyncio.ensure_future(store.hit([(counter, "ann", 1)], within=5.0))
        with pytest.raises(StoreUnavailable, match="in time"):
            await short
    assert (await long)[0].admitted
    await store.aclose()


@pytest.mark.parametrize("turns", range(3, 6))
async def test_a_busy_loop_is_no_outage(server: RedisServer, turns: int) -> None:
    """A handler that blocks keeps the answer from being read, and not from being there."""
    async with limited(server.port, "100/year") as app:
        await app.statuses(1)
        for left in (98, 97):
            task = asyncio.ensure_future(app.ask())
            for _ in range(turns):  # until it has been sent, and not been answered
                await asyncio.sleep(0)
            time.sleep(2 * BUDGET)  # noqa: ASYNC251 - as such handlers do
            assert f"r={left};" in (await task).headers["ratelimit"]
            assert not app.is_out


async def test_any_store_may_be_out() -> None:
    """It says so with StoreUnavailable; any other error is a mistake, and is seen."""

    class Failing(MemoryStore):
        error: Exception = StoreUnavailable("gone")

        async def hit(self, charges: Any, *, within: float | None = None) -> Any:
            assert within == BUDGET
            raise self.error

    store = Failing()
    app = Limited(RateLimit("1/year", store=store, store_timeout=BUDGET))
    assert await app.statuses(2) == [200, 429]
    await app.layer.aclose()
    store.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await Limited(RateLimit("1/year", store=store, store_timeout=BUDGET)).ask()


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"on_store_failure": "open"}, "on_store_failure"),
        ({"on_store_failure": None}, "on_store_failure"),
        ({"store_timeout": 0}, "store_timeout"),
        ({"store_timeout": "1"}, "store_timeout"),
        ({"workers": 0}, "workers"),
        ({"workers": 1.5}, "workers"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, field: str) -> None:
    """When the guard is made."""
    with pytest.raises(ConfigurationError, match=rf"RateLimit\.{field} is .*; allowed: "):
        RateLimit("1/year", **settings)


def test_a_wrong_mode_of_a_rule_is_named() -> None:
    """When the rule is made."""
    with pytest.raises(ConfigurationError, match=r"Rule\.on_store_failure is 'open'; allowed: "):
        Rule("1/year", on_store_failure="open")  # type: ignore[arg-type]
