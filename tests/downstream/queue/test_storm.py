"""Ten thousand calls that succeed, fail and are cancelled at any moment, and nothing is lost."""

import asyncio
import random
import threading
import time
from collections import Counter
from typing import Any

import pytest

from asgi_guard import CallTimeout, CircuitBreaker, CircuitOpen, Downstream, DownstreamBusy
from asgi_guard._clock import Clock
from asgi_guard.testing import FakeClock
from tests.downstream.queue.skipping import SKIPPING

CALLS = 10_000
LIMIT = 6


@pytest.fixture(params=["asyncio", "uvloop", "skipping"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run on both loops, whose order of callbacks differs, and on one where timers come at once."""
    if request.param == "skipping":
        return SKIPPING
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


class Storm:
    """Callers of one downstream that come, wait, call, and give up at any moment."""

    def __init__(self, seed: int, downstream: Downstream, clock: FakeClock | None = None) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.downstream = downstream
        self.inside = self.most_inside = self.begun = 0
        self.ends: Counter[str] = Counter()
        self.running: dict[asyncio.Task[None], None] = {}  # in order: chance is the seed's alone

    async def function(self) -> None:
        """Take a few turns, and fail at times."""
        self.begun += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            for _ in range(self.random.randrange(4)):
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                raise ConnectionError
            if self.random.random() < 0.02:
                await asyncio.sleep(3600)
        finally:
            self.inside -= 1

    async def caller(self) -> None:
        """Make one call, in one of the two ways, and note how it ended."""
        luck = self.random.random()
        timeout = None if luck < 0.4 else 0.05 * luck
        priority = self.random.randrange(3)
        try:
            if luck < 0.7:
                await self.downstream.call(self.function, priority=priority, timeout=timeout)
            else:
                async with self.downstream.slot(priority, timeout=timeout):
                    await self.function()
        except DownstreamBusy as refused:
            self.ends[refused.reason] += 1
        except CircuitOpen:
            self.ends["circuit_open"] += 1
        except CallTimeout:
            self.ends["late"] += 1
        except ConnectionError:
            self.ends["failed"] += 1
        except asyncio.CancelledError:
            self.ends["cancelled"] += 1
            raise
        else:
            self.ends["succeeded"] += 1

    async def rage(self, calls: int) -> None:
        """Let callers come and go until so many have come; then wait for the rest."""
        breaker, come, turn = self.downstream.breaker, 0, 0
        assert breaker is not None
        while come < calls:
            for _ in range(self.random.randrange(14)):
                task = asyncio.create_task(self.caller())
                self.running[task] = None
                task.add_done_callback(self.running.pop)
                come += 1
            await asyncio.sleep(self.random.choice([0, 0, 0, 0.001]))
            for _ in range(self.random.randrange(4)):
                if self.running:
                    self.random.choice(list(self.running)).cancel()
            if self.clock is not None:
                self.clock.advance(0.0005)
            turn += 1
            if turn % 50 == 25:
                breaker.force_open(0.002)
            elif turn % 50 == 40:
                breaker.close()
        breaker.close()
        await self.calm_down()

    async def calm_down(self) -> None:
        """Let half of those who are left go on, and cancel the others."""
        await asyncio.sleep(0)
        for task in list(self.running):
            if self.random.random() < 0.5:
                task.cancel()
        await asyncio.sleep(0.2)
        for task in list(self.running):
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)


def stormy(clock: Clock, **more: Any) -> Downstream:
    """Return a downstream in which everything happens."""
    breaker = CircuitBreaker(
        "b",
        consecutive_failures=4,
        failure_rate=None,
        open_for=0.002,
        open_multiplier=1.0,
        jitter=0,
        max_trials=2,
        recover_after=1,
        clock=clock,
    )
    settings: dict[str, Any] = {"max_concurrent": LIMIT, "max_queue": 25, "timeout": None} | more
    return Downstream("d", breaker=breaker, **settings)


def settled(storms: list[Storm]) -> None:
    """Nothing is held, nobody waits, and the counts of both sides agree."""
    downstream = storms[0].downstream
    breaker, now = downstream.breaker, downstream.snapshot()
    assert breaker is not None
    ends = sum((storm.ends for storm in storms), Counter[str]())
    begun = sum(storm.begun for storm in storms)
    assert (now.in_flight, now.waiting, now.waiting_by_priority) == (0, 0, {})
    assert [storm.inside for storm in storms] == [0] * len(storms)
    assert (now.queue_full, now.timeout) == (ends["queue_full"], ends["timeout"])
    assert now.circuit_open == ends["circuit_open"]
    assert now.starts == begun
    counted = breaker.snapshot()
    assert counted.success == ends["succeeded"]
    assert counted.failure == ends["failed"] + ends["late"]
    # A call that was cancelled after it began was admitted, and said nothing.
    assert counted.ignored == begun - counted.success - counted.failure
    assert 0 < counted.ignored <= ends["cancelled"]
    assert min(ends[each] for each in ("succeeded", "failed", "circuit_open", "cancelled")) > 10


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("interval", [0.0, 0.0005])
@pytest.mark.timeout(240)
async def test_nothing_is_held_and_nobody_is_stranded(seed: int, interval: float) -> None:
    """Zero slots held, nobody waiting, and the next call is made as if nothing had been."""
    clock = FakeClock()
    downstream = stormy(clock, min_interval=interval)
    storm = Storm(seed, downstream, clock)
    await asyncio.wait_for(storm.rage(CALLS if interval == 0 else CALLS // 4), 200)
    settled([storm])
    assert storm.ends.total() >= (CALLS if interval == 0 else CALLS // 4) - 200
    assert storm.most_inside == LIMIT or interval
    assert storm.ends["queue_full"] > 10
    assert downstream.breaker is not None
    downstream.breaker.close()
    slots = [downstream.slot(timeout=5.0) for _ in range(LIMIT)]
    for slot in slots:
        await slot.__aenter__()
    assert downstream.snapshot().in_flight == LIMIT
    for slot in slots:
        await slot.__aexit__(None, None, None)


def test_loops_in_several_threads_share_a_breaker_and_nothing_else() -> None:
    """Each has its slots; the counts add up over all; a trip in one drains the others."""
    downstream = stormy(time.monotonic, min_interval=0)
    storms = [Storm(seed, downstream) for seed in range(4)]
    failed: list[BaseException] = []

    def run(storm: Storm) -> None:
        try:
            asyncio.run(asyncio.wait_for(storm.rage(CALLS // 4), 50))
        except BaseException as error:  # noqa: BLE001 - it is looked at below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(storm,)) for storm in storms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    settled(storms)
    assert max(storm.most_inside for storm in storms) == LIMIT
