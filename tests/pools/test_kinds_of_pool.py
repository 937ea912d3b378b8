"""Pools that are not queues, and what makes an engine the same engine."""

import gc
import weakref

import pytest
from sqlalchemy import NullPool, QueuePool, SingletonThreadPool, StaticPool, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import ConfigurationError, Guard
from asgi_guard.pools.snapshot import PoolSnapshot
from asgi_guard.pools.sqlalchemy import watch_engine
from tests.pools.conftest import MakeEngine


def test_without_a_pool(make_engine: MakeEngine) -> None:
    """A NullPool has neither limit nor size, and its connections close when they are returned."""
    engine = make_engine(poolclass=NullPool)
    watch = watch_engine(engine)
    held = [engine.connect() for _ in range(5)]
    assert watch.snapshot() == unlimited(5, 5)
    assert watch.snapshot().saturation is None
    for connection in held:
        connection.close()
    assert watch.snapshot() == unlimited(0, 0)


def test_one_connection_for_all(make_engine: MakeEngine) -> None:
    """A StaticPool is one open connection, used while anybody holds it."""
    engine = make_engine(poolclass=StaticPool)
    watch = watch_engine(engine)
    first, second = engine.connect(), engine.connect()
    assert watch.snapshot() == unlimited(1, 1)
    second.close()
    first.close()
    assert watch.snapshot() == unlimited(1, 0)


def test_one_connection_for_each_thread(make_engine: MakeEngine) -> None:
    """A SingletonThreadPool has a size that is a number, and one connection in one thread."""
    engine = make_engine(poolclass=SingletonThreadPool, pool_size=4)
    watch = watch_engine(engine)
    with engine.connect(), engine.connect():
        assert watch.snapshot() == unlimited(1, 1, size=4)
    assert watch.snapshot() == unlimited(1, 0, size=4)


def test_a_queue_without_an_end(make_engine: MakeEngine) -> None:
    """A pool that may overflow without end has a size and no limit."""
    engine = make_engine(poolclass=QueuePool, pool_size=1, max_overflow=-1)
    watch = watch_engine(engine)
    with engine.connect(), engine.connect():
        assert watch.snapshot() == unlimited(2, 2, size=1)


@pytest.mark.parametrize("used", [False, True], ids=["unused", "used"])
def test_a_watch_keeps_no_engine_alive(make_engine: MakeEngine, used: bool) -> None:
    """An engine that nobody holds any more is collected with its watch, used or not."""
    engine = create_engine(make_engine().url)
    watch = watch_engine(engine)
    if used:
        engine.connect().close()
        engine.dispose()
    left = weakref.ref(engine), weakref.ref(watch)
    del engine, watch
    gc.collect()
    assert [each() for each in left] == [None, None]


def test_watched_twice_is_watched_once(make_engine: MakeEngine) -> None:
    """All guards that are given one engine share one watch, and it counts a timeout once."""
    engine = make_engine(pool_size=1, max_overflow=0, pool_timeout=0.01)
    watch = watch_engine(engine)
    Guard(pools={"main": engine})(lambda scope, receive, send: None)  # type: ignore[arg-type,return-value]
    assert watch_engine(engine) is watch
    with engine.connect(), pytest.raises(Exception, match="QueuePool limit"):
        engine.connect()
    assert watch.snapshot() == PoolSnapshot(1, 0, 1, 1, waiters=0, timeouts=1)


def test_an_async_engine_is_its_sync_engine() -> None:
    """An AsyncEngine and the sync engine it stands on are one engine."""
    engine = create_async_engine("sqlite+aiosqlite://")
    assert watch_engine(engine) is watch_engine(engine.sync_engine)


def test_engines_that_share_a_pool_show_the_same(make_engine: MakeEngine) -> None:
    """What `execution_options()` returns has the same pool, and its watch counts the same."""
    engine = make_engine(pool_size=1, max_overflow=0, pool_timeout=0.01)
    other = engine.execution_options(isolation_level="SERIALIZABLE")
    first, second = watch_engine(engine), watch_engine(other)
    with other.connect():
        assert first.snapshot() == second.snapshot() == PoolSnapshot(1, 1, 1, 1, 0, 0)
    engine.dispose()
    with engine.connect():
        assert first.snapshot() == second.snapshot() == PoolSnapshot(1, 1, 1, 1, 0, 0)


@pytest.mark.parametrize("engine", ["postgresql://", object(), None])
def test_what_is_no_engine_is_refused(engine: object) -> None:
    """A pool that is no engine of SQLAlchemy is refused when the guard is made."""
    with pytest.raises(ConfigurationError, match="AsyncEngine of SQLAlchemy"):
        Guard(pools={"main": engine})


def unlimited(open_: int, used: int, size: int | None = None) -> PoolSnapshot:
    """Return the state of a pool without a limit."""
    return PoolSnapshot(open_, used, limit=None, size=size, waiters=0, timeouts=0)
