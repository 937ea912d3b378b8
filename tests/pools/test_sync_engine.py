"""The pool of a sync Engine, used from threads: what the watch counts is exact."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from asgi_guard.pools.sqlalchemy import watch_engine
from tests.pools.conftest import SMALL, MakeEngine
from tests.pools.expected import pool, until_waiters


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads that can wait for connections."""
    with ThreadPoolExecutor(max_workers=8) as executor:
        yield executor


def test_checkout_and_return(engine: Engine) -> None:
    """Connections are used when held, idle when returned, and those beyond the size are closed."""
    watch = watch_engine(engine)
    assert watch.snapshot() == pool(0, 0)
    held = [engine.connect() for _ in range(3)]
    assert watch.snapshot() == pool(3, 3)
    held[0].close()
    assert watch.snapshot() == pool(3, 2)
    held[1].close()
    held[2].close()
    assert watch.snapshot() == pool(2, 0)


def test_waiters_of_an_exhausted_pool(engine: Engine, threads: ThreadPoolExecutor) -> None:
    """Threads that find the pool exhausted are waiters until connections come back."""
    watch = watch_engine(engine)
    held = [engine.connect() for _ in range(3)]
    waiting = [threads.submit(engine.connect) for _ in range(2)]
    until_waiters(watch, 2)
    assert watch.snapshot() == pool(3, 3, waiters=2)
    for connection in held:
        connection.close()
    held = [each.result() for each in waiting]
    assert watch.snapshot() == pool(2, 2)
    for connection in held:
        connection.close()
    assert watch.snapshot() == pool(2, 0)


def test_waits_in_vain_are_counted(make_engine: MakeEngine, threads: ThreadPoolExecutor) -> None:
    """Each acquire that the pool gives up on is one timeout, and no waiter any more."""
    engine = make_engine(**{**SMALL, "pool_timeout": 0.05})
    watch = watch_engine(engine)
    held = [engine.connect() for _ in range(3)]
    for waiting in [threads.submit(engine.connect) for _ in range(4)]:
        with pytest.raises(PoolTimeoutError):
            waiting.result()
    assert watch.snapshot() == pool(3, 3, timeouts=4)
    for connection in held:
        connection.close()
    assert watch.snapshot() == pool(2, 0, timeouts=4)


def test_an_invalidated_connection_is_gone(engine: Engine) -> None:
    """An invalidated connection is no longer open, and its place takes a new one."""
    watch = watch_engine(engine)
    with engine.connect() as connection:
        connection.invalidate()
        assert watch.snapshot() == pool(0, 0)
    with engine.connect():
        assert watch.snapshot() == pool(1, 1)


def test_a_detached_connection_is_not_the_pools(engine: Engine) -> None:
    """A detached connection leaves the pool's counts, and closing it changes them no more."""
    watch = watch_engine(engine)
    with engine.connect() as connection:
        connection.detach()
        assert watch.snapshot() == pool(0, 0)
    assert watch.snapshot() == pool(0, 0)


def test_a_connection_that_outlives_its_pool(engine: Engine, threads: ThreadPoolExecutor) -> None:
    """After `dispose()` the new pool is watched, and the old one's connection until it closes."""
    watch = watch_engine(engine)
    old = engine.pool
    held = engine.connect()
    engine.connect().close()
    assert watch.snapshot() == pool(2, 1)
    engine.dispose()
    assert watch.snapshot() == pool(1, 1)
    fresh = [engine.connect() for _ in range(3)]
    waiting = threads.submit(engine.connect)
    until_waiters(watch, 1)
    assert watch.snapshot() == pool(4, 4, waiters=1)
    held.close()  # into the old pool, where nobody waits
    assert watch.snapshot() == pool(4, 3, waiters=1)
    old.dispose()
    assert watch.snapshot() == pool(3, 3, waiters=1)
    fresh.pop().close()
    fresh.append(waiting.result())
    for connection in fresh:
        connection.close()
    assert watch.snapshot() == pool(2, 0)


def test_a_burst_of_threads_ends_at_zero(engine: Engine, threads: ThreadPoolExecutor) -> None:
    """Threads that come and go at once leave nothing used, nobody waiting, and few open."""
    watch = watch_engine(engine)

    def come_and_go(_: int) -> int:
        with engine.connect():
            return watch.snapshot().used

    seen = list(threads.map(come_and_go, range(400)))
    assert all(1 <= used <= 3 for used in seen)
    assert watch.snapshot().used == 0
    assert watch.snapshot().waiters == 0
    assert watch.snapshot().open <= 2
