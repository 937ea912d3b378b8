"""Permits: a bounded number at once, in order, and never lost."""

import asyncio
from threading import Event
from typing import Any

import pytest

from asgi_guard import ConcurrencyExceeded, ConfigurationError, Permits


async def turns(count: int = 3) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_free_permit_is_taken_without_waiting() -> None:
    """As many as there are, and no more."""
    permits = Permits(2)
    assert [permits.try_acquire() for _ in range(3)] == [True, True, False]
    permits.release()
    assert permits.try_acquire()
    assert permits.snapshot().in_flight == 2


async def test_waiters_are_served_in_order() -> None:
    """First in, first out."""
    permits, order = Permits(1), []

    async def work(number: int) -> None:
        async with permits:
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert order == list(range(20))
    assert permits.snapshot().in_flight == 0


async def test_nobody_overtakes_a_waiter() -> None:
    """A returned permit belongs to the first who waits before anybody can ask for it."""
    permits = Permits(1)
    assert permits.try_acquire()
    waiting = asyncio.create_task(permits.acquire())
    await turns()
    permits.release()
    assert not permits.try_acquire()
    await waiting
    assert permits.snapshot().in_flight == 1


async def test_a_full_queue_refuses_at_once() -> None:
    """And says why."""
    permits = Permits(1, max_waiting=1)
    assert permits.try_acquire()
    waiting = asyncio.create_task(permits.acquire())
    await turns()
    with pytest.raises(ConcurrencyExceeded) as refused:
        await permits.acquire()
    assert refused.value.reason == "queue_full"
    assert refused.value.retry_after is not None
    permits.release()
    await waiting
    assert permits.snapshot().queue_full == 1


async def test_a_wait_ends_in_time() -> None:
    """Who waited in vain leaves the queue, and the next permit goes to somebody else."""
    permits = Permits(1, max_wait=0.01)
    assert permits.try_acquire()
    with pytest.raises(ConcurrencyExceeded) as refused:
        await permits.acquire()
    assert refused.value.reason == "timeout"
    now = permits.snapshot()
    assert (now.in_flight, now.waiting, now.timeout) == (1, 0, 1)
    permits.release()
    assert permits.try_acquire()


@pytest.mark.parametrize("permits", [Permits(1, max_waiting=0), Permits(1, max_wait=0)])
async def test_a_queue_can_be_done_without(permits: Permits) -> None:
    """Then a permit is free or it is not."""
    async with permits:
        with pytest.raises(ConcurrencyExceeded):
            await permits.acquire()


async def test_a_cancelled_waiter_leaves() -> None:
    """And the permit goes to the next."""
    permits = Permits(1)
    assert permits.try_acquire()
    gone, stays = (asyncio.create_task(permits.acquire()) for _ in range(2))
    await turns()
    gone.cancel()
    await turns()
    assert permits.snapshot().waiting == 1
    permits.release()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert permits.snapshot().in_flight == 1


async def test_a_waiter_cancelled_in_the_moment_of_the_hand_over_passes_it_on() -> None:
    """Both orders of the two events, in one turn of the loop."""
    for cancel_first in (True, False):
        permits = Permits(1)
        assert permits.try_acquire()
        gone, stays = (asyncio.create_task(permits.acquire()) for _ in range(2))
        await turns()
        if cancel_first:
            gone.cancel()
            permits.release()
        else:
            permits.release()
            gone.cancel()
        await stays
        with pytest.raises(asyncio.CancelledError):
            await gone
        permits.release()
        assert permits.snapshot().in_flight == 0


async def test_the_last_waiter_cancelled_with_its_permit_frees_it() -> None:
    """There is nobody to pass it on to."""
    permits = Permits(1)
    assert permits.try_acquire()
    gone = asyncio.create_task(permits.acquire())
    await turns()
    permits.release()
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    assert permits.snapshot().in_flight == 0


async def test_one_release_too_many_is_an_error() -> None:
    """It would make a permit out of nothing."""
    permits = Permits(1)
    with pytest.raises(RuntimeError, match="without a permit"):
        permits.release()


def test_permits_serve_several_loops() -> None:
    """One after the other, and each with all permits."""
    permits = Permits(1)

    async def use() -> int:
        async with permits:
            return permits.snapshot().in_flight

    assert [asyncio.run(use()) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "Permits.limit"),
        ({"limit": -1}, "Permits.limit"),
        ({"limit": True}, "Permits.limit"),
        ({"limit": 1.5}, "Permits.limit"),
        ({"limit": 1, "max_waiting": -1}, "Permits.max_waiting"),
        ({"limit": 1, "max_wait": -0.1}, "Permits.max_wait"),
        ({"limit": 1, "max_wait": float("nan")}, "Permits.max_wait"),
    ],
)
def test_a_wrong_setting_is_named(arguments: dict[str, Any], field: str) -> None:
    """The field, the value and the range."""
    with pytest.raises(ConfigurationError) as raised:
        Permits(**arguments)
    assert raised.value.field == field


async def test_a_higher_limit_lets_in_who_waits_first() -> None:
    """In order, as many as there is room for now; who was cancelled takes none."""
    permits, order = Permits(1), []

    async def enter(number: int) -> None:
        await permits.acquire()
        order.append(number)

    tasks = [asyncio.create_task(enter(number)) for number in range(5)]
    await turns()
    tasks[1].cancel()
    permits.resize(3)
    assert not permits.try_acquire()
    await turns()
    assert order == [0, 2, 3]
    permits.release()
    await turns()
    assert order == [0, 2, 3, 4]
    assert permits.snapshot().limit == 3


async def test_a_lower_limit_holds_once_enough_are_back() -> None:
    """Who waits is not let in before that."""
    permits = Permits(3)
    assert [permits.try_acquire() for _ in range(3)] == [True] * 3
    permits.resize(1)
    waiting = asyncio.create_task(permits.acquire())
    await turns()
    for _ in range(2):
        permits.release()
        await turns()
        assert not waiting.done()
    permits.release()
    await waiting
    assert permits.snapshot().in_flight == 1
    permits.release()
    assert [permits.try_acquire() for _ in range(2)] == [True, False]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None])
def test_a_wrong_limit_changes_nothing(wrong: Any) -> None:
    """It is named, and the old one holds."""
    permits = Permits(2)
    with pytest.raises(ConfigurationError, match=r"Permits\.limit"):
        permits.resize(wrong)
    assert permits.snapshot().limit == 2


async def test_a_new_limit_reaches_the_event_loops_of_other_threads() -> None:
    """Who waits there is let in, by that loop itself; one that has ended is left alone."""
    permits, waits = Permits(1), Event()
    await asyncio.to_thread(asyncio.run, permits.acquire())  # in a loop that has ended

    async def elsewhere() -> int:
        await permits.acquire()
        waiting = asyncio.create_task(permits.acquire())
        await turns()
        waits.set()
        await asyncio.wait_for(waiting, 20)
        return sum(permits.try_acquire() for _ in range(5))

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await asyncio.to_thread(waits.wait, 20)
    permits.resize(4)
    assert await other == 2
    assert sum(permits.try_acquire() for _ in range(5)) == 4
