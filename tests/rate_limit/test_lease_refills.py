"""Refills: a lease is filled up before anybody has to wait, and no worker holds a whole one."""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_guard import Quota, StoreUnavailable
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.rate_limit.stores.redis_counter import RedisCounter
from tests.rate_limit.leasing import LONG, admitted, working
from tests.stores.redis_server import RedisServer, RedisServers

WITHIN = 5.0  # seconds
GATHERED = 0.02  # seconds after which a refill is asked for, unless the machine is very busy


@pytest.fixture(scope="module")
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server: each test has a rule of its own."""
    return redis_servers.get("redis-8")


class Worker:
    """Who asks the straight way, as requests do.

    Args:
        store: Its store.
        counter: The counter of its rule.
    """

    def __init__(self, store: RedisStore, counter: RedisCounter) -> None:
        question = store.prepare([(counter, 1)])
        assert question is not None
        self._question: Any = question

    def use(self, key: str = "ann", within: float = WITHIN) -> tuple[int, float] | None:
        """Charge a unit on lease; return what remains, and when there is more."""
        decided = self._question.hit(key, 1, monotonic(), within)
        return None if decided is None else decided[1:3]

    async def ask(self, key: str = "ann", within: float = WITHIN) -> Sequence[int]:
        """Charge a unit."""
        numbers: Sequence[int] = await self._question.ask(
            (key,), within, asyncio.get_running_loop()
        )
        return numbers

    async def admitted(self) -> bool:
        """Charge a unit of ann's, on lease where there is one."""
        return self.use() is not None or not (await self.ask())[2]


def worker(store: RedisStore, count: int = 1000, lease: int = 16) -> tuple[Worker, RedisCounter]:
    """Return a worker with a rule of its own, and the counter that counts exactly."""
    rule, quota = uuid4().hex, Quota(count, LONG)
    exact = store.counter(rule, quota)
    return Worker(store, store.counter(rule, quota, lease=lease)), exact


async def remaining(store: RedisStore, counter: RedisCounter, key: str = "ann") -> int:
    """Return what the server has left."""
    (decision,) = await store.hit([(counter, key, 0)], within=WITHIN)
    return decision.remaining


async def filled(store: RedisStore) -> None:
    """Wait until all refills are there."""
    refills: Any = store.line(asyncio.get_running_loop())._refills
    async with asyncio.timeout(WITHIN):
        while refills._alarm is not None or refills._under_way:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.001)
    await asyncio.sleep(0)  # and have been taken in


async def test_nobody_waits_but_the_first(server: RedisServer) -> None:
    """As long as a refill takes less time than using what is left; and all of it is told."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store)
        left = [(await ann.ask())[0]]
        for _ in range(20):
            for _ in range(5):
                numbers = ann.use()
                assert numbers is not None
                left.append(numbers[0])
            await filled(store)
        assert left == list(range(999, 898, -1))
        assert 0 <= 1000 - 101 - await remaining(store, exact) < 16


async def test_those_who_run_low_together_are_asked_for_together(server: RedisServer) -> None:
    """In one trip, a few milliseconds later."""
    async with working(server, 1) as (store,):
        crowd, _ = worker(store)
        keys = [str(number) for number in range(30)]
        await asyncio.gather(*(crowd.ask(key) for key in keys))
        before = server.calls("evalsha")
        for _ in range(14):
            assert all(crowd.use(key) for key in keys)
        await filled(store)
        assert server.calls("evalsha") - before == 1
        for _ in range(13):
            assert all(crowd.use(key) for key in keys)


async def test_a_refill_that_came_short_is_the_last(server: RedisServer) -> None:
    """Near the limit the server decides."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store, count=36)
        await ann.ask()
        assert all(ann.use() for _ in range(13))
        await filled(store)
        assert await remaining(store, exact) == 10  # a half, and not the 7 that a whole one leaves
        before = server.calls("evalsha")
        assert all(ann.use() for _ in range(12))
        await filled(store)
        assert ann.use() is None
        assert server.calls("evalsha") == before


async def test_what_others_have_filled_up_is_not_asked_for(server: RedisServer) -> None:
    """Who came too late for what was left has asked for more by itself."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store)
        await ann.ask()
        before = server.calls("evalsha")
        assert all(ann.use() for _ in range(15))
        await ann.ask()
        assert all(ann.use() for _ in range(3))
        await filled(store)
        assert server.calls("evalsha") - before == 1
        assert await remaining(store, exact) == 1000 - 32


async def test_rules_are_charged_together_or_not_at_all(server: RedisServer) -> None:
    """On lease as on the server: where one has not enough, the others get theirs back."""
    async with working(server, 1) as (store,):
        rules, quota = [uuid4().hex for _ in range(3)], Quota(1000, LONG)
        counters = [
            store.counter(rule, quota, lease=lease)
            for rule, lease in zip(rules, (16, 5, 16), strict=True)
        ]
        question: Any = store.prepare([(counter, 1) for counter in counters])
        terms = ("ann", "ann", "bob"), WITHIN, asyncio.get_running_loop()
        assert question.use(*terms) is None
        assert list(await question.ask(*terms))[::3] == [999] * 3
        for used in range(2, 6):
            assert question.use(*terms)[::3] == [1000 - used] * 3
        for _ in range(3):
            assert question.use(*terms) is None
        await store.end_leases()
        exact = [store.counter(rule, quota) for rule in rules]
        left = [await remaining(store, *at) for at in zip(exact, terms[0], strict=True)]
        assert left == [995] * 3


def test_another_loop_has_leases_of_its_own(server: RedisServer) -> None:
    """And may be another thread's."""

    async def run(store: RedisStore, ann: Worker) -> None:
        assert ann.use() is None
        await ann.ask()
        assert all(ann.use() for _ in range(5))
        await store.aclose()
        assert ann.use() is None

    async def stay(store: RedisStore, ann: Worker, exact: RedisCounter) -> None:
        await run(store, ann)
        await ann.ask()
        await asyncio.to_thread(lambda: asyncio.run(run(store, ann)))
        assert ann.use() is None  # for once: the other loop asked last
        await ann.ask()
        assert all(ann.use() for _ in range(5))
        await store.end_leases()
        assert await remaining(store, exact) == 1000 - 6 - 1 - 6 - 1 - 5
        await store.aclose()

    async def main() -> None:
        store = RedisStore(server.url)
        await stay(store, *worker(store))

    asyncio.run(main())


async def test_who_only_looks_takes_nothing(server: RedisServer) -> None:
    """Neither a unit nor a lease."""
    async with working(server, 1) as (store,):
        rule, quota = uuid4().hex, Quota(1000, LONG)
        for _ in range(3):
            (seen,) = await store.hit([(store.counter(rule, quota, lease=16), "ann", 0)])
            assert seen.remaining == 1000


async def test_a_small_lease_is_not_filled_up(server: RedisServer) -> None:
    """It would be asked for all the time, and is meant to save questions."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store, lease=7)
        await ann.ask()
        assert all(ann.use() for _ in range(6))
        await filled(store)
        assert await remaining(store, exact) == 1000 - 7
        assert ann.use() is None


@pytest.mark.parametrize("pause", [0.0, GATHERED], ids=["wanted", "under way"])
async def test_what_comes_at_the_end_is_given_back(server: RedisServer, pause: float) -> None:
    """Whether it has been asked for or not."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store)
        await ann.ask()
        with server.frozen():
            assert all(ann.use() for _ in range(15))
            await asyncio.sleep(pause)
            ending = asyncio.create_task(store.end_leases())
            await asyncio.sleep(GATHERED)
        await ending
        assert await remaining(store, exact) == 1000 - 16


async def test_what_was_given_back_is_not_filled_up(server: RedisServer) -> None:
    """Though it ran low while others were on their way back."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store)
        await asyncio.gather(ann.ask("ann"), ann.ask("bob"))
        with server.frozen():
            assert all(ann.use("bob") for _ in range(13))
            await asyncio.sleep(GATHERED)
            ending = asyncio.create_task(store.end_leases())
            await asyncio.sleep(0)
            assert all(ann.use() for _ in range(13))
        await ending
        await filled(store)
        assert await remaining(store, exact) == 1000 - 14
        assert await remaining(store, exact, "bob") == 1000 - 14


async def test_without_an_answer_what_is_there_is_used_up(server: RedisServer) -> None:
    """And then whoever asks finds out."""
    async with working(server, 1) as (store,):
        ann, exact = worker(store)
        await ann.ask()
        with server.frozen():
            assert all(ann.use(within=0.05) for _ in range(13))
            await asyncio.sleep(0.2)
            assert all(ann.use(within=0.05) for _ in range(2))
            assert ann.use() is None
            with pytest.raises(StoreUnavailable):
                await ann.ask(within=0.05)
        assert not (await ann.ask())[2]
        assert all(ann.use() for _ in range(15))
        assert await remaining(store, exact) < 1000 - 31


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    count=st.integers(1, 120),
    lease=st.integers(8, 30),
    turns=st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 12), st.booleans()), min_size=1, max_size=30
    ),
)
def test_no_more_than_the_quota_and_little_less(
    server: RedisServer, count: int, lease: int, turns: list[tuple[int, int, bool]]
) -> None:
    """With refills too: others hold less than a lease for each, and at the end nothing is lost."""

    async def run() -> None:
        rule, quota = uuid4().hex, Quota(count, LONG)
        async with working(server, 4) as stores:
            workers = [
                Worker(store, store.counter(rule, quota, lease=lease, workers=3))
                for store in stores[:3]
            ]
            total = 0
            for turn, hits, rests in turns:
                answers = [await workers[turn].admitted() for _ in range(hits)]
                total += sum(answers)
                if not all(answers):
                    assert total >= count - 2 * (lease - 1)
                if rests:
                    await asyncio.sleep(0.008)
            assert total <= count
            for store in stores[:3]:
                await store.aclose()
            exact = stores[3].counter(rule, quota)
            while await admitted(stores[3], exact):
                total += 1
            assert total == count

    asyncio.run(run())
