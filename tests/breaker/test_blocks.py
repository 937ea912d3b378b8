"""Which block is which: across contexts, threads, tasks, exit stacks, and out of order."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

from asgi_guard import BreakerState, CircuitBreaker
from asgi_guard.breaker.blocks import OpenBlocks
from tests.breaker.breakers import breaker, counted, trip


def held(it: CircuitBreaker) -> Iterator[None]:
    """Hold a block, as a dependency does."""
    with it:
        yield


def recovering(**more: Any) -> CircuitBreaker:
    """Return a breaker that one trial closes."""
    return breaker(recover_after=1, **more)


def test_blocks_may_end_out_of_order() -> None:
    """In one context: the older, begun before the trip, ends while the newer is a trial."""
    it = recovering()
    older = held(it)
    next(older)
    trip(it)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    newer = held(it)
    next(newer)
    next(older, None)
    states = [it.state]
    next(newer, None)
    assert [*states, it.state] == [BreakerState.HALF_OPEN, BreakerState.CLOSED]


def test_a_block_within_another_context_is_not_taken_for_the_outer() -> None:
    """The outer is a trial, the inner is not of this context's making."""
    it = recovering(max_trials=2)
    trip(it)
    it.core.clock.advance(5.0)  # type: ignore[attr-defined]
    with it:
        inner = held(it)
        copy_context().run(next, inner)
        trials = it.core.machine._trials
        before = set(trials._under_way)
        copy_context().run(next, inner, None)
        assert len(before) == 2
        assert it.state is BreakerState.CLOSED


def test_a_frame_of_other_code_is_another_frame() -> None:
    """One that has ended may have left its number to it; the context tells then."""
    blocks = OpenBlocks()
    frame: Any = SimpleNamespace(f_code=held.__code__)
    copy_context().run(blocks.begin, 1, frame)
    blocks.begin(2, SimpleNamespace(f_code=held.__code__))  # type: ignore[arg-type]
    frame.f_code = trip.__code__
    assert blocks.end(frame) == (2, None)


def test_of_two_blocks_in_one_frame_that_of_the_context_ends() -> None:
    """Though it is the older one."""
    blocks = OpenBlocks()
    frame: Any = SimpleNamespace(f_code=held.__code__)
    blocks.begin(1, frame)
    elsewhere = copy_context()
    elsewhere.run(blocks.begin, 2, frame)
    assert blocks.end(frame) == (1, None)
    assert elsewhere.run(blocks.end, frame) == (2, None)


async def test_exit_stacks_end_their_own() -> None:
    """Their frames differ, the context tells."""
    it = breaker()

    async def work(wait: float) -> None:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(it)
            stack.enter_context(it)
            await asyncio.sleep(wait)

    await asyncio.gather(*(work(0.001 * (each % 3)) for each in range(20)))
    with ExitStack() as stack:
        stack.enter_context(it)
    assert counted(it) == (41, 0, 0, 0)
    assert not it._open_blocks._open


def test_threads_end_their_own() -> None:
    """Many blocks at once, each in a thread."""
    it = breaker()
    together = threading.Barrier(6)

    def work() -> None:
        for _ in range(50):
            with it, it:
                together.wait(timeout=10)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(it) == (600, 0, 0, 0)
    assert not it._open_blocks._open
