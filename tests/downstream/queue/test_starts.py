"""Slots and starts: how many at once, how far apart, in which order."""

import asyncio
import logging
from itertools import pairwise
from typing import Any

import pytest

from asgi_guard import Downstream, DownstreamBusy, Priority
from tests.downstream.queue.skipping import now, turns


class Calls:
    """A downstream that notes what reaches it."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.began: list[float] = []
        self.names: list[object] = []
        self.inside = self.most_inside = 0

    async def __call__(self, name: object = None) -> object:
        """Take that long."""
        self.began.append(now())
        self.names.append(name)
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.inside -= 1
        return name


def gaps(calls: Calls) -> list[float]:
    """Return the seconds between one start and the next."""
    return [after - before for before, after in pairwise(calls.began)]


async def test_an_idle_downstream_is_called_at_once() -> None:
    """With its arguments, without a timer, and nothing is held afterwards."""
    downstream = Downstream("d", timeout=None)

    async def function(*args: int, **kwargs: int) -> Any:
        assert downstream.snapshot().in_flight == 1
        assert not asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        return args, kwargs

    assert await downstream.call(function, 1, 2, three=3) == ((1, 2), {"three": 3})
    snapshot = downstream.snapshot()
    assert (snapshot.in_flight, snapshot.starts, snapshot.waits) == (0, 1, 0)


async def test_no_more_than_so_many_at_once() -> None:
    """The rest wait, and come in as they came."""
    calls, downstream = Calls(1.0), Downstream("d", max_concurrent=3, min_interval=0)
    began = now()
    found = await asyncio.gather(*(downstream.call(calls, each) for each in range(10)))
    assert found == calls.names == list(range(10))
    assert calls.most_inside == 3
    assert now() - began == pytest.approx(4.0, abs=0.01)
    assert calls.began == sorted(calls.began)


async def test_starts_are_so_far_apart() -> None:
    """The default is ten in a second, however many could run at once."""
    calls, downstream = Calls(0.01), Downstream("d", max_concurrent=50)
    await asyncio.gather(*(downstream.call(calls) for _ in range(21)))
    assert gaps(calls) == pytest.approx([0.1] * 20, abs=0.002)
    assert min(gaps(calls)) > 0.1 - 1e-6
    snapshot = downstream.snapshot()
    assert snapshot.waits == 20
    assert snapshot.longest_wait == pytest.approx(2.0, abs=0.05)
    assert snapshot.waited_seconds == pytest.approx(sum(range(21)) / 10, abs=0.5)


async def test_time_that_has_passed_is_not_waited_for_again() -> None:
    """Nor is it saved up: starts are never closer."""
    calls, downstream = Calls(), Downstream("d", min_interval=1.0)
    await downstream.call(calls)
    await asyncio.sleep(10)
    await asyncio.gather(*(downstream.call(calls) for _ in range(3)))
    assert gaps(calls) == pytest.approx([10.0, 1.0, 1.0], abs=0.01)


async def test_one_timer_serves_all_who_wait() -> None:
    """However many there are; and none is left when nobody waits any more."""
    downstream = Downstream("d", min_interval=1.0, timeout=None)
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    await downstream.call(Calls())
    waiting = [asyncio.create_task(downstream.call(Calls())) for _ in range(20)]
    await turns()
    assert len([timer for timer in scheduled if not timer.cancelled()]) == 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not [timer for timer in scheduled if not timer.cancelled()]
    assert downstream.snapshot().waiting == 0


async def test_a_cancelled_waiter_has_taken_no_start() -> None:
    """Who waits behind is called when the cancelled one would have been."""
    calls, downstream = Calls(), Downstream("d", min_interval=1.0)
    await downstream.call(calls)
    gone = asyncio.create_task(downstream.call(calls, "gone"))
    stays = asyncio.create_task(downstream.call(calls, "stays"))
    await asyncio.sleep(0.5)
    gone.cancel()
    await stays
    assert calls.names == [None, "stays"]
    assert gaps(calls) == pytest.approx([1.0], abs=0.01)


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_a_waiter_cancelled_as_it_is_let_in_gives_slot_and_start_back(
    cancel_first: bool,
) -> None:
    """Both orders of the two events, in one turn of the loop."""
    calls, downstream = Calls(), Downstream("d", max_concurrent=1, min_interval=5.0)
    slot = downstream.slot()
    await slot.__aenter__()
    await asyncio.sleep(6.0)
    gone = asyncio.create_task(downstream.call(calls, "gone"))
    stays = asyncio.create_task(downstream.call(calls, "stays"))
    await turns()
    began = now()
    if cancel_first:
        gone.cancel()
        await slot.__aexit__(None, None, None)
    else:
        await slot.__aexit__(None, None, None)
        gone.cancel()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert now() - began < 0.01
    assert calls.names == ["stays"]
    assert downstream.snapshot().in_flight == 0


async def test_who_comes_when_it_is_time_does_not_overtake_who_waits() -> None:
    """Though the timer has not rung yet: the loop may be late."""
    calls, downstream = Calls(), Downstream("d", min_interval=1.0)
    loop: Any = asyncio.get_running_loop()
    await downstream.call(calls, "first")
    waits = asyncio.create_task(downstream.call(calls, "waits"))
    await turns()
    loop._skipping.now += 5.0
    await downstream.call(calls, "comes")
    await waits
    assert calls.names == ["first", "waits", "comes"]


async def test_who_is_cancelled_leaves_the_line_at_once() -> None:
    """From the middle of it as well, with the timer of its time."""
    downstream = Downstream("d", max_concurrent=1, timeout=20.0)
    scheduled = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    async with downstream.slot(timeout=None):
        waiting = [asyncio.create_task(downstream.call(Calls())) for _ in range(3)]
        await turns()
        assert len([timer for timer in scheduled if not timer.cancelled()]) == 3
        waiting[1].cancel()
        await turns()
        assert downstream.snapshot().waiting == 2
        assert len([timer for timer in scheduled if not timer.cancelled()]) == 2
    await asyncio.gather(*waiting, return_exceptions=True)
    assert not [timer for timer in scheduled if not timer.cancelled()]


async def test_who_is_cancelled_makes_room_at_once() -> None:
    """Not only when its task has run: who comes in the same turn may wait."""
    calls = Calls(5.0)
    downstream = Downstream("d", max_concurrent=1, min_interval=0, max_queue=2)
    tasks = [asyncio.create_task(downstream.call(calls, each)) for each in "abc"]
    await turns()
    tasks[1].cancel()
    tasks[2].cancel()
    assert downstream.snapshot().waiting == 0
    others = [downstream.call(calls, each) for each in "de"]
    assert await asyncio.gather(tasks[0], *others) == ["a", "d", "e"]
    assert downstream.snapshot().queue_full == 0


async def test_who_waited_in_vain_makes_room_at_once() -> None:
    """As well as who is cancelled."""
    calls, outcomes = Calls(5.0), list[object]()
    downstream = Downstream("d", max_concurrent=1, min_interval=0, max_queue=1)
    first = asyncio.create_task(downstream.call(calls, "a"))
    await turns()
    waiting = asyncio.create_task(downstream.call(calls, "b", timeout=1.0))
    await turns()

    def come() -> None:
        outcomes.append(downstream.snapshot().waiting)
        outcomes.append(asyncio.create_task(downstream.call(calls, "c")))

    asyncio.get_running_loop().call_later(1.0, come)
    with pytest.raises(DownstreamBusy, match="time"):
        await waiting
    assert await first == "a"
    waited, late = outcomes
    assert (waited, await late) == (0, "c")  # type: ignore[misc]


async def test_the_important_ones_come_first() -> None:
    """And among equals, who came first."""
    calls, downstream = Calls(), Downstream("d", max_concurrent=1, min_interval=0.1)
    order = [Priority.LOW, Priority.NORMAL, Priority.HIGH, -7, 9]
    async with downstream.slot():
        waiting = [
            asyncio.create_task(downstream.call(calls, (int(each), turn), priority=each))
            for turn in range(2)
            for each in order
        ]
        await turns()
        assert downstream.snapshot().waiting_by_priority == dict.fromkeys([0, 1, 2, -7, 9], 2)
    await asyncio.gather(*waiting)
    assert calls.names == [(each, turn) for each in (9, 2, 1, 0, -7) for turn in range(2)]


@pytest.mark.parametrize(("aging", "served"), [(5.0, True), (None, False)])
async def test_low_is_not_starved_by_a_flood_of_high(aging: float | None, served: bool) -> None:
    """Twice as many come as can be called: without aging it would never be its turn."""
    calls = Calls()
    downstream = Downstream("d", aging=aging, max_queue=10_000, timeout=None)
    began = now()
    low = asyncio.create_task(downstream.call(calls, "low", priority=Priority.LOW))
    high = []
    await downstream.call(calls, "first", priority=Priority.HIGH)
    for _ in range(1000):
        high.append(asyncio.create_task(downstream.call(calls, priority=Priority.HIGH)))
        await asyncio.sleep(0.05)
        if low.done():
            break
    assert low.done() is served
    assert now() - began == pytest.approx(20.0 if served else 50.0, abs=0.5)
    for task in (low, *high):
        task.cancel()
    await asyncio.gather(low, *high, return_exceptions=True)


async def test_the_newest_of_the_lowest_class_makes_room() -> None:
    """Be it the one that came or not; and it is told so."""
    calls, downstream = Calls(), Downstream("d", max_concurrent=1, max_queue=3)

    def call(name: str, priority: int) -> "asyncio.Task[object]":
        return asyncio.create_task(downstream.call(calls, name, priority=priority))

    async with downstream.slot():
        tasks = [
            call("low 1", Priority.LOW),
            call("normal", Priority.NORMAL),
            call("low 2", Priority.LOW),
        ]
        await turns()
        tasks += [call("low 3", Priority.LOW)]
        await turns()
        assert isinstance(tasks[3].exception(), DownstreamBusy)
        tasks += [call("high 1", Priority.HIGH), call("high 2", Priority.HIGH)]
        await turns()
        assert [task.done() for task in tasks] == [True, False, True, True, False, False]
        tasks += [call("normal 2", Priority.NORMAL)]
        await turns()
        refused = tasks[6].exception()
    assert isinstance(refused, DownstreamBusy)
    assert (refused.reason, refused.downstream) == ("queue_full", "d")
    assert refused.retry_after == 1.0
    await asyncio.gather(*tasks, return_exceptions=True)
    assert calls.names == ["high 1", "high 2", "normal"]
    snapshot = downstream.snapshot()
    assert (snapshot.queue_full, snapshot.starts, snapshot.waiting) == (4, 4, 0)


async def test_where_nobody_may_wait_everybody_else_is_refused() -> None:
    """Whoever they are."""
    downstream = Downstream("d", max_concurrent=1, max_queue=0)
    async with downstream.slot():
        with pytest.raises(DownstreamBusy):
            await downstream.call(Calls(), priority=Priority.HIGH)


async def test_the_advice_grows_with_the_line() -> None:
    """So many starts lie ahead."""
    downstream = Downstream("d", min_interval=2.0, max_queue=10)
    await downstream.call(Calls())
    tasks = [asyncio.create_task(downstream.call(Calls())) for _ in range(11)]
    await turns()
    refused = tasks[-1].exception()
    assert isinstance(refused, DownstreamBusy)
    assert refused.retry_after == 20.0
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_slot_serves_one_block() -> None:
    """Two at once would give it back twice."""
    downstream = Downstream("d")
    async with downstream.slot() as slot:
        with pytest.raises(RuntimeError, match="taken already"):
            await slot.__aenter__()
        assert downstream.snapshot().in_flight == 1
    assert downstream.snapshot().in_flight == 0


async def test_what_the_spacing_comes_to_is_said_once(caplog: Any) -> None:
    """At the first call: then there is a log to say it in."""
    with caplog.at_level(logging.INFO):
        downstream, unspaced = Downstream("d"), Downstream("e", min_interval=0)
        for _ in range(3):
            await downstream.call(Calls())
            await unspaced.call(Calls())
    (record,) = caplog.records
    assert record.getMessage() == (
        "downstream 'd': no more than 10 calls start in a second, since min_interval is 0.1 s, "
        "and 5 run at once"
    )


async def test_decorated_functions_wait_their_turn() -> None:
    """With a name and arguments of their own, and methods as well."""
    downstream = Downstream("d", max_concurrent=1)

    @downstream
    async def double(number: int, *, priority: int = 1) -> int:
        """Double it."""
        assert downstream.snapshot().in_flight == 1
        return number * 2 * priority

    class Client:
        factor = 3

        @downstream.at(Priority.HIGH, timeout=1.0)
        async def triple(self, number: int) -> int:
            return number * self.factor

    assert (double.__name__, double.__doc__) == ("double", "Double it.")
    assert await double(4, priority=2) == 16
    assert await Client().triple(4) == 12
    assert downstream.snapshot().starts == 2
