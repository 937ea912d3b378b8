"""A downstream and its breaker: the permit last, and nobody waits for what is out of service."""

import asyncio
import gc
import threading
from typing import Any

import pytest

from asgi_guard import BreakerState, CircuitBreaker, CircuitOpen, Downstream, Outcome, Priority
from asgi_guard.testing import FakeClock
from tests.downstream.queue.skipping import now, turns


async def fine(*args: object) -> str:
    """Succeed."""
    return "fine"


async def broken(*args: object) -> None:
    """Fail."""
    raise ConnectionError


async def test_outcomes_reach_the_breaker() -> None:
    """Success, failure, neither; by call and by block."""
    breaker = CircuitBreaker("b", consecutive_failures=None, classify=judge)
    downstream = Downstream("d", breaker=breaker, min_interval=0)
    await downstream.call(fine)
    with pytest.raises(ConnectionError):
        await downstream.call(broken)
    await downstream.call(asyncio.sleep, 0, "bad")
    with pytest.raises(ConnectionError):
        async with downstream.slot():
            raise ConnectionError
    async with downstream.slot() as slot:
        assert slot.attempt is not None
        slot.attempt.failure()
    async with downstream.slot():
        pass
    cancelled = asyncio.create_task(downstream.call(asyncio.sleep, 100))
    await turns()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    snapshot = breaker.snapshot()
    assert (snapshot.success, snapshot.failure, snapshot.ignored) == (2, 4, 1)
    assert downstream.snapshot().in_flight == 0


def judge(error: BaseException | None, result: object) -> Outcome | None:
    """Call a result a failure, and fail itself on another."""
    if result == "unjudged":
        raise ValueError("what is this?")
    return Outcome.FAILURE if result == "bad" else None


async def test_a_call_that_cannot_be_judged_is_over_all_the_same() -> None:
    """Slot and permit are given back, and it says nothing."""
    breaker = CircuitBreaker("b", classify=judge)
    downstream = Downstream("d", breaker=breaker)
    with pytest.raises(ValueError, match="what is this"):
        await downstream.call(asyncio.sleep, 0, "unjudged")
    assert downstream.snapshot().in_flight == 0
    assert (breaker.snapshot().ignored, breaker.snapshot().success) == (1, 0)


async def test_an_open_breaker_is_not_waited_for() -> None:
    """Though there is a line; no slot, no start and no permit is taken."""
    breaker = CircuitBreaker("b", open_for=30.0, jitter=0)
    downstream = Downstream("d", breaker=breaker, min_interval=1.0)
    breaker.force_open(30.0)
    began = now()
    for _ in range(5):
        with pytest.raises(CircuitOpen) as refused:
            await downstream.call(fine)
        assert 0 < (refused.value.retry_after or 0) <= 30.0
    assert now() == began
    snapshot = downstream.snapshot()
    assert (snapshot.circuit_open, snapshot.starts, snapshot.waits) == (5, 0, 0)
    assert breaker.snapshot().not_permitted == 5
    breaker.close()
    await downstream.call(fine)
    assert now() == began


async def test_who_waits_is_refused_at_once_when_the_breaker_opens() -> None:
    """They do not wait for their turn; calls under way go on."""
    breaker = CircuitBreaker("b", consecutive_failures=1, open_for=60.0)
    downstream = Downstream("d", breaker=breaker, max_concurrent=2, min_interval=0)
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "done"

    async def soon() -> None:
        await asyncio.sleep(1.0)
        raise ConnectionError

    under_way = asyncio.create_task(downstream.call(slow))
    trips = asyncio.create_task(downstream.call(soon))
    waiting = [asyncio.create_task(downstream.call(fine, priority=each)) for each in (0, 1, 2, 1)]
    await asyncio.sleep(0.5)
    assert downstream.snapshot().waiting == 4
    began = now()
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert now() - began == pytest.approx(0.5, abs=0.01)
    assert [type(each) for each in refused] == [CircuitOpen] * 4
    assert isinstance(trips.exception(), ConnectionError)
    assert not under_way.done()
    assert downstream.snapshot().in_flight == 1
    release.set()
    assert await under_way == "done"
    snapshot = downstream.snapshot()
    assert (snapshot.waiting, snapshot.in_flight, snapshot.circuit_open) == (0, 0, 4)


async def test_another_thread_may_open_it() -> None:
    """The loop is woken, and every waiter is refused in its own."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, timeout=None)
    async with downstream.slot():
        waiting = [asyncio.create_task(downstream.call(fine)) for _ in range(3)]
        await turns()
        thread = threading.Thread(target=breaker.force_open)
        thread.start()
        thread.join()
        assert not any(task.done() for task in waiting)
        refused = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each) for each in refused] == [CircuitOpen] * 3


async def test_one_that_has_closed_again_drains_nobody() -> None:
    """Before the loop got to it."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, timeout=None)
    async with downstream.slot():
        waiting = asyncio.create_task(downstream.call(fine))
        await turns()

        def blink() -> None:
            breaker.force_open()
            breaker.close()

        thread = threading.Thread(target=blink)
        thread.start()
        thread.join()
        await turns()
        assert not waiting.done()
    assert await waiting == "fine"
    assert breaker.snapshot().not_permitted == 0


async def test_half_open_admits_as_many_as_there_are_trials() -> None:
    """The others are refused, at once or at their turn, and none of them takes a start."""
    clock = FakeClock()
    breaker = CircuitBreaker(
        "b", consecutive_failures=1, open_for=5.0, jitter=0, max_trials=2, clock=clock
    )
    downstream = Downstream("d", breaker=breaker, max_concurrent=10, min_interval=1.0)
    with pytest.raises(ConnectionError):
        await downstream.call(broken)
    clock.advance(5.0)
    began: list[float] = []

    async def trial() -> str:
        began.append(now())
        await asyncio.sleep(10.0)
        return "fine"

    tasks = [asyncio.create_task(downstream.call(trial)) for _ in range(6)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each for each in found if each == "fine"] == ["fine"] * 2
    assert [type(each) for each in found if each != "fine"] == [CircuitOpen] * 4
    assert began[1] - began[0] == pytest.approx(1.0, abs=0.01)
    assert breaker.state is BreakerState.CLOSED
    assert downstream.snapshot().starts == 3


async def test_a_refused_permit_gives_slot_and_start_back() -> None:
    """Whoever comes next need not wait for a call that was not made."""
    clock = FakeClock()
    breaker = CircuitBreaker("b", consecutive_failures=1, recover_after=1, clock=clock, jitter=0)
    downstream = Downstream("d", breaker=breaker, max_concurrent=2, min_interval=5.0)
    with pytest.raises(ConnectionError):
        await downstream.call(broken)
    clock.advance(5.0)
    waiting = asyncio.create_task(downstream.call(fine))
    await turns()
    trial = breaker.attempt()  # somebody else calls it, past the line
    with pytest.raises(CircuitOpen):
        await waiting
    trial.success()
    began = now()
    await downstream.call(fine)
    assert now() == began
    assert downstream.snapshot().in_flight == 0


async def test_a_block_that_cannot_begin_gives_everything_back() -> None:
    """A time needs a task to end; the trial is not lost until its lease ends."""
    clock = FakeClock()
    breaker = CircuitBreaker("b", open_for=1.0, jitter=0, clock=clock)
    downstream = Downstream("d", breaker=breaker, min_interval=100.0)
    breaker.throttle(1.0)
    clock.advance(1.0)
    raised: list[RuntimeError] = []

    def outside_of_a_task() -> None:
        try:
            downstream.slot().__aenter__().send(None)
        except RuntimeError as error:
            raised.append(error)

    asyncio.get_running_loop().call_soon(outside_of_a_task)
    await turns()
    assert len(raised) == 1
    assert downstream.snapshot().in_flight == 0
    assert breaker.snapshot().ignored == 1
    began = now()
    assert await downstream.call(fine) == "fine"
    assert now() == began


async def test_waits_are_neither_leased_nor_timed() -> None:
    """The breaker is asked when everything else is there."""
    breaker = CircuitBreaker("b", call_timeout=1.0, slow_call=1.0, min_calls=1)
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, min_interval=0)

    async def call() -> None:
        assert breaker.core.machine.counts(breaker.core.clock())[2] == 0
        await asyncio.sleep(0.9)

    await asyncio.gather(*(downstream.call(call) for _ in range(5)))
    snapshot = breaker.snapshot()
    assert (snapshot.success, snapshot.failure, snapshot.window_slow) == (5, 0, 0)


async def test_a_refusal_from_further_down_is_not_ours() -> None:
    """It passes through, is no failure, and no fallback stands in for it."""
    breaker, inner = CircuitBreaker("b"), CircuitBreaker("inner")
    inner.force_open()
    downstream = Downstream("d", breaker=breaker, fallback="fallback", fallback_on="failure")
    with pytest.raises(CircuitOpen, match="inner"):
        await downstream.call(Downstream("e", breaker=inner).call, fine)
    snapshot = downstream.snapshot()
    assert (snapshot.circuit_open, snapshot.starts, snapshot.fallbacks) == (0, 1, 0)
    assert breaker.snapshot().ignored == 1


async def test_a_breaker_does_not_keep_downstreams_alive() -> None:
    """It may live longer, and forgets who listened."""
    breaker = CircuitBreaker("b")
    for _ in range(3):
        await Downstream("d", breaker=breaker).call(fine)
    gc.collect()
    assert breaker.core.listeners == ()


async def test_the_peace_a_downstream_asks_for_drains_the_line() -> None:
    """A block can pass it on."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, max_concurrent=1)
    async with downstream.slot() as slot:
        waiting = asyncio.create_task(downstream.call(fine, priority=Priority.HIGH))
        await turns()
        assert slot.attempt is not None
        slot.attempt.throttle(20.0)
        found: Any = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(found[0], CircuitOpen)
    assert found[0].retry_after == pytest.approx(20.0, abs=1.0)
