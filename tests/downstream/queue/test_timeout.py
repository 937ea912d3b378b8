"""The time of a call: its wait and itself, and which of them is to blame."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from asgi_guard import BreakerState, CallTimeout, CircuitBreaker, Downstream, DownstreamBusy
from tests.downstream.queue.skipping import now, turns


async def test_over_during_the_wait_it_is_a_refusal() -> None:
    """The breaker hears nothing, and the place in the line is free again."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, timeout=2.0)
    async with downstream.slot(timeout=None):
        began = now()
        with pytest.raises(DownstreamBusy) as refused:
            await downstream.call(asyncio.sleep, 0)
        assert now() - began == pytest.approx(2.0, abs=0.01)
        assert refused.value.reason == "timeout"
        assert downstream.snapshot().waiting == 0
    snapshot = breaker.snapshot()
    assert (snapshot.success, snapshot.failure, snapshot.ignored) == (1, 0, 0)
    assert downstream.snapshot().timeout == 1


async def test_over_during_the_call_it_is_a_failure() -> None:
    """What was left after the wait is what the call had."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, min_interval=0, timeout=3.0)
    first = asyncio.create_task(downstream.call(asyncio.sleep, 2.0))
    await turns()
    began = now()
    with pytest.raises(CallTimeout):
        await downstream.call(asyncio.sleep, 2.0)
    assert now() - began == pytest.approx(3.0, abs=0.01)
    await first
    snapshot = breaker.snapshot()
    assert (snapshot.success, snapshot.failure) == (1, 1)
    assert downstream.snapshot().in_flight == 0


async def test_whoever_catches_the_cancellation_has_failed() -> None:
    """What is returned after the time is passed on, and counts as what it is: too late."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, timeout=1.0)

    async def stubborn() -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(2.0)
        return "late"

    assert await downstream.call(stubborn) == "late"
    snapshot = breaker.snapshot()
    assert (snapshot.success, snapshot.failure) == (0, 1)
    assert downstream.snapshot().in_flight == 0


async def test_a_block_has_the_same_time() -> None:
    """Its end is that of the block."""
    downstream = Downstream("d")
    with pytest.raises(CallTimeout):
        async with downstream.slot(timeout=1.0):
            await asyncio.sleep(2.0)
    assert downstream.snapshot().in_flight == 0


async def test_a_timeout_of_the_function_is_its_own() -> None:
    """It is an error like any other."""
    downstream = Downstream("d")

    async def late() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own") as raised:
        await downstream.call(late)
    assert not isinstance(raised.value, CallTimeout)


async def test_the_time_of_the_breaker_holds_as_well() -> None:
    """It begins with the call."""
    breaker = CircuitBreaker("b", call_timeout=1.0)
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, min_interval=0)
    first = asyncio.create_task(downstream.call(asyncio.sleep, 0.9))
    await turns()
    began = now()
    with pytest.raises(CallTimeout):
        await downstream.call(asyncio.sleep, 5.0)
    assert now() - began == pytest.approx(1.9, abs=0.01)
    await first


@pytest.mark.parametrize("left", [0, -1.5, float("nan"), float("-inf")])
async def test_with_no_time_left_nothing_is_tried(left: float) -> None:
    """Not even where nobody waits; and an open breaker is not asked."""
    breaker = CircuitBreaker("b")
    breaker.force_open()
    downstream = Downstream("d", breaker=breaker)
    with pytest.raises(DownstreamBusy) as refused:
        await downstream.call(asyncio.sleep, 0, timeout=left)
    assert refused.value.reason == "timeout"
    assert downstream.snapshot().starts == 0
    assert breaker.snapshot().not_permitted == 0


async def test_let_in_after_the_end_it_is_still_a_refusal() -> None:
    """A loop that is held up lets in late; the downstream is not to blame for that."""
    breaker = CircuitBreaker("b")
    downstream = Downstream("d", breaker=breaker, max_concurrent=1, min_interval=0)
    loop: Any = asyncio.get_running_loop()
    slot = downstream.slot(timeout=None)
    await slot.__aenter__()
    late = asyncio.create_task(downstream.call(asyncio.sleep, 0, timeout=1.0))
    await turns()
    await slot.__aexit__(None, None, None)  # let in; and before it runs, the loop is held up
    loop._skipping.now += 5.0
    with pytest.raises(DownstreamBusy):
        await late
    assert downstream.snapshot().in_flight == 0
    assert breaker.snapshot().failure == 0


async def test_cancelled_from_outside_it_is_a_cancellation() -> None:
    """Though it has a time of its own."""
    downstream = Downstream("d", timeout=100.0)
    task = asyncio.create_task(downstream.call(asyncio.sleep, 50.0))
    await turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(CallTimeout):
        await downstream.call(asyncio.sleep, 200.0)


async def test_a_trial_may_take_as_long_as_any_call() -> None:
    """Its lease is no shorter than its time: a slow downstream would never recover."""
    breaker = CircuitBreaker(
        "b",
        consecutive_failures=1,
        recover_after=1,
        open_for=1.0,
        jitter=0.0,
        trial_lease=5.0,
        clock=now,
    )
    downstream = Downstream("d", breaker=breaker, min_interval=0, timeout=60.0)
    breaker.attempt().failure()
    await asyncio.sleep(1.0)
    await downstream.call(asyncio.sleep, 20.0)
    assert breaker.state is BreakerState.CLOSED
    assert breaker.snapshot().leases_expired == 0


async def test_one_slot_is_for_one_block() -> None:
    """Of two tasks that share it, one is told, also while the other waits; nothing is lost."""
    downstream = Downstream("d", max_concurrent=1, min_interval=0)
    slot = downstream.slot()

    async def work() -> None:
        async with slot:
            await asyncio.sleep(1.0)

    async with downstream.slot():
        tasks = [asyncio.create_task(work()) for _ in range(2)]
        await turns()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), RuntimeError]
    assert downstream.snapshot().in_flight == 0
    async with slot:  # once it is free
        assert downstream.snapshot().in_flight == 1
