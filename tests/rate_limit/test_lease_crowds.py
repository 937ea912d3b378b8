"""Leases of keys that many ask for at once."""

import asyncio
from collections.abc import Sequence
from uuid import uuid4

import pytest

from asgi_guard import Quota, StoreUnavailable
from asgi_guard.rate_limit.stores.conversation import Conversation
from tests.rate_limit.leasing import LONG, admitted, working
from tests.stores.redis_server import RedisServer, RedisServers


@pytest.fixture(scope="module")
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server for all tests: each has a rule of its own."""
    return redis_servers.get("redis-8")


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long the answer may take to what is asked of the server from here on."""
    asked: list[float] = []
    ask = Conversation.ask

    def noting(
        self: Conversation, what: bytes, keys: Sequence[bytes], size: int, within: float
    ) -> "asyncio.Future[list[int]]":
        asked.append(within)
        return ask(self, what, keys, size, within)

    monkeypatch.setattr(Conversation, "ask", noting)
    return asked


@pytest.mark.parametrize("rules", [1, 3])
async def test_a_crowd_asks_as_seldom_as_those_who_come_one_by_one(
    server: RedisServer, questions: list[float], rules: int
) -> None:
    """Who finds the lease used up waits for what has been asked for, as far as it goes round."""
    async with working(server, 1) as (store,):
        counters = [store.counter(uuid4().hex, Quota(1000, LONG), lease=10) for _ in range(rules)]

        async def passes() -> bool:
            decided = await store.hit([(counter, "ann", 1) for counter in counters], within=5)
            return all(each.admitted for each in decided)

        assert await passes()
        assert all(await asyncio.gather(*(passes() for _ in range(99))))
        assert len(questions) == 10
        await store.end_leases()
        for counter in counters:
            (left,) = await store.hit([(counter, "ann", 0)], within=5)
            assert left.remaining == 1000 - 100


async def test_a_crowd_at_the_end_of_a_quota_gets_all_of_it(
    server: RedisServer, questions: list[float]
) -> None:
    """What they wait for may be less than was asked for; then they ask for themselves."""
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(100, LONG), lease=40)
        assert await admitted(store, counter)
        answers = await asyncio.gather(*(admitted(store, counter) for _ in range(150)))
        assert sum(answers) == 99
        assert min(questions) < 5, "who waited in vain has less time left"
        before = server.calls("evalsha")
        assert not any(await asyncio.gather(*(admitted(store, counter) for _ in range(20))))
        assert server.calls("evalsha") == before + 1, "nobody waits for what is not to be had"


async def test_who_waits_for_a_lease_and_leaves_charges_nothing(server: RedisServer) -> None:
    """The units that were meant for it are there for others."""
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(1000, LONG), lease=10)
        assert all([await admitted(store, counter) for _ in range(10)])
        with server.frozen():
            crowd = [asyncio.ensure_future(admitted(store, counter)) for _ in range(10)]
            await asyncio.sleep(0.02)
            for waiting in crowd[5:]:
                waiting.cancel()
            await asyncio.wait(crowd[5:])
        assert all(await asyncio.gather(*crowd[:5]))
        await store.end_leases()
        (left,) = await store.hit([(counter, "ann", 0)], within=5)
        assert left.remaining == 1000 - 10 - 5


async def test_who_waits_for_a_lease_holds_no_other(server: RedisServer) -> None:
    """Whoever leaves meanwhile leaves nothing charged."""
    async with working(server, 1) as (store,):
        plenty = store.counter(uuid4().hex, Quota(1000, LONG), lease=100)
        scarce = store.counter(uuid4().hex, Quota(1000, LONG), lease=5)
        both = [(plenty, "ann", 1), (scarce, "ann", 1)]
        for _ in range(5):
            await store.hit(both, within=5)
        with server.frozen():
            crowd = [asyncio.ensure_future(store.hit(both, within=5)) for _ in range(5)]
            await asyncio.sleep(0.02)
            crowd[4].cancel()
            await asyncio.wait(crowd[4:])
        await asyncio.gather(*crowd[:4])
        await store.end_leases()
        for decided in await store.hit([(plenty, "ann", 0), (scarce, "ann", 0)], within=5):
            assert decided.remaining == 1000 - 5 - 4


async def test_who_waits_for_a_lease_of_a_server_that_is_silent_is_told(
    server: RedisServer,
) -> None:
    """As soon as the one that asks, and not later than it would wait itself."""
    async with working(server, 1) as (store,):
        counter = store.counter(uuid4().hex, Quota(1000, LONG), lease=10)
        assert all([await admitted(store, counter) for _ in range(10)])
        with server.frozen():
            asks = asyncio.ensure_future(store.hit([(counter, "ann", 1)], within=0.4))
            await asyncio.sleep(0)
            waits = asyncio.ensure_future(store.hit([(counter, "ann", 1)], within=0.5))
            hurries = asyncio.ensure_future(store.hit([(counter, "ann", 1)], within=0.1))
            done, _ = await asyncio.wait([asks, waits, hurries], timeout=0.25)
            assert done == {hurries}
            await asyncio.wait([asks, waits])
        for each in (asks, waits, hurries):
            with pytest.raises(StoreUnavailable):
                each.result()
        assert await admitted(store, counter)
