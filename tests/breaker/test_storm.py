"""A storm: threads and tasks, failures, cancellations and trips, on one breaker."""

import asyncio
import contextlib
import gc
import random
import threading
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from asgi_guard import BreakerState, CircuitBreaker, CircuitOpen
from tests.breaker.breakers import DownError

THREADS, TASKS, CALLS = 4, 60, 120


class Storm:
    """What is thrown at a breaker, and what became of it."""

    def __init__(self, it: CircuitBreaker) -> None:
        self.it = it
        self.begun = 0
        self.lock = threading.Lock()

    def work(self, seed: int) -> None:
        """Call from a thread, in every way there is."""
        chance = random.Random(seed)

        def call() -> None:
            if chance.random() < 0.3:
                raise DownError
            if chance.random() < 0.1:
                raise KeyError

        ways: list[Callable[[], None]] = [
            self.it(call),
            lambda: self.it.call(call),
            lambda: self.block(call),
        ]
        for _ in range(CALLS * 5):
            with self.lock:
                self.begun += 1
            way = chance.choice(ways)
            with contextlib.suppress(DownError, KeyError, CircuitOpen):
                way()
            if chance.random() < 0.01:
                chance.choice([self.it.close, self.it.disable, self.it.metrics_only])()

    def block(self, call: Any) -> None:
        """Call inside a block."""
        with self.it:
            call()

    async def task(self, seed: int) -> None:
        """Call from a task; some of its calls are cancelled."""
        chance = random.Random(seed)

        async def call() -> None:
            await asyncio.sleep(chance.choice([0, 0, 0.001]))
            if chance.random() < 0.3:
                raise DownError

        async def ablock() -> None:
            async with self.it:
                await call()

        async def stream() -> Any:
            await call()
            yield 1

        async def iterate() -> None:
            async for _ in self.it(stream)():
                await asyncio.sleep(0)

        ways: list[Any] = [self.it(call), lambda: self.it.acall(call), ablock, iterate]
        for _ in range(CALLS):
            started = asyncio.Event()

            async def one(started: asyncio.Event = started) -> None:
                started.set()
                await chance.choice(ways)()

            under_way = asyncio.create_task(one())
            await started.wait()
            with self.lock:
                self.begun += 1
            if chance.random() < 0.2:
                await asyncio.sleep(0)
                under_way.cancel()
            await asyncio.gather(under_way, return_exceptions=True)


@pytest.mark.parametrize("slow_call", [None, 0.002])
async def test_after_a_storm_nothing_is_held_and_everything_adds_up(
    slow_call: float | None,
) -> None:
    """Every call that began is in one of four counters; a trial is admitted, and it recovers."""
    it = CircuitBreaker(
        "storm",
        consecutive_failures=3,
        open_for=0.001,
        open_max=0.004,
        max_trials=2,
        ignore=KeyError,
        slow_call=slow_call,
        slow_rate=1.0,
    )
    storm = Storm(it)
    threads = [threading.Thread(target=storm.work, args=(each,), daemon=True) for each in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(storm.task(THREADS + each) for each in range(TASKS)))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    now = it.snapshot()
    assert storm.begun == THREADS * CALLS * 5 + TASKS * CALLS
    assert now.success + now.failure + now.ignored + now.not_permitted == storm.begun
    assert now.transitions[BreakerState.CLOSED, BreakerState.OPEN] > 1
    assert min(now.success, now.failure, now.ignored) > 100
    assert not it.core.machine._trials._under_way
    assert not it.core.machine._slow._under_way
    assert not it._open_blocks._open
    for _ in range(100):  # where the machine is busy, a trial is slow, and opens it again
        it.close()  # whatever some hand has left
        it.throttle(0.001)
        await asyncio.sleep(0.002)
        trials = [it.attempt(), it.attempt()]
        assert it.try_acquire() is None
        for trial in trials:
            trial.success()
        if it.state is BreakerState.CLOSED:
            return
    pytest.fail("it never recovers")


def nothing() -> None:
    """Succeed."""


@pytest.mark.parametrize("more", [{}, {"slow_call": 1.0}, {"window_calls": 100}])
def test_no_memory_grows_with_calls(more: dict[str, Any]) -> None:
    """A hundred thousand take what a thousand took."""
    it = CircuitBreaker("memory", **more)
    decorated = it(nothing)

    def calls(number: int) -> int:
        for _ in range(number // 4):
            decorated()
            it.call(nothing)
            with it:
                pass
            it.attempt().success()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = calls(1_000)
        grown = calls(100_000) - before
    finally:
        tracemalloc.stop()
    assert grown < 2_000
