"""What a pool is expected to look like, and how to wait until it does."""

import time
from collections.abc import Callable

import anyio

from asgi_guard.pools.snapshot import PoolSnapshot, PoolSource
from tests.processes import until

_WITHIN = 10.0  # seconds


def pool(open_: int, used: int, waiters: int = 0, timeouts: int = 0) -> PoolSnapshot:
    """Return the state of the small pool: two that are kept, and one more."""
    return PoolSnapshot(open_, used, limit=3, size=2, waiters=waiters, timeouts=timeouts)


def until_waiters(watch: PoolSource, count: int) -> None:
    """Wait until so many callers are inside an acquire."""
    until(lambda: watch.snapshot().waiters == count, within=_WITHIN)


async def until_waiters_async(watch: PoolSource, count: int) -> None:
    """Wait until so many callers are inside an acquire, and let the event loop run meanwhile."""
    await _until_async(lambda: watch.snapshot().waiters == count, watch)


async def until_unused(watch: PoolSource) -> None:
    """Wait until nobody holds a connection or waits for one."""
    await _until_async(lambda: watch.snapshot().waiters == watch.snapshot().used == 0, watch)


async def _until_async(reached: Callable[[], bool], watch: PoolSource) -> None:
    end = time.monotonic() + _WITHIN
    while not reached():
        assert time.monotonic() < end, f"stays at {watch.snapshot()}"
        await anyio.sleep(0.01)
