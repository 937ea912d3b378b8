"""The pool of an AsyncEngine, on both event loops: what the watch counts is exact."""

import asyncio

import pytest
from sqlalchemy import text
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from asgi_guard.pools.sqlalchemy import watch_engine
from tests.pools.conftest import SMALL, MakeAsyncEngine
from tests.pools.expected import pool, until_waiters_async

pytestmark = pytest.mark.parametrize(
    "anyio_backend",
    [
        pytest.param(("asyncio", {}), id="asyncio"),
        pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    ],
)


async def test_checkout_and_return(async_engine: AsyncEngine) -> None:
    """Connections are used when held, idle when returned, and those beyond the size are closed."""
    watch = watch_engine(async_engine)
    assert watch.snapshot() == pool(0, 0)
    held = [await async_engine.connect() for _ in range(3)]
    assert watch.snapshot() == pool(3, 3)
    await held[0].close()
    assert watch.snapshot() == pool(3, 2)
    await held[1].close()
    await held[2].close()
    assert watch.snapshot() == pool(2, 0)
    async with async_engine.begin() as connection:
        await connection.execute(text("SELECT 1"))
        assert watch.snapshot() == pool(2, 1)
    assert watch.snapshot() == pool(2, 0)


async def test_connections_of_before_the_watch(async_engine: AsyncEngine) -> None:
    """A connection that was idle when the watch began is counted once it is used."""
    await (await async_engine.connect()).close()
    watch = watch_engine(async_engine)
    async with async_engine.connect():
        assert watch.snapshot() == pool(1, 1)
    assert watch.snapshot() == pool(1, 0)


async def test_waiters_of_an_exhausted_pool(async_engine: AsyncEngine) -> None:
    """Whoever finds the pool exhausted is a waiter until a connection comes back."""
    watch = watch_engine(async_engine)
    held = [await async_engine.connect() for _ in range(3)]
    waiting = [asyncio.create_task(take(async_engine)) for _ in range(2)]
    await until_waiters_async(watch, 2)
    assert watch.snapshot() == pool(3, 3, waiters=2)
    for connection in held:
        await connection.close()
    taken = [await each for each in waiting]
    assert watch.snapshot().waiters == 0
    assert watch.snapshot().used == 2
    for connection in taken:
        await connection.close()
    assert watch.snapshot() == pool(2, 0)


async def test_waits_in_vain_are_counted(make_async_engine: MakeAsyncEngine) -> None:
    """Each acquire that the pool gives up on is one timeout, and no waiter any more."""
    engine = make_async_engine(**{**SMALL, "pool_timeout": 0.05})
    watch = watch_engine(engine)
    held = [await engine.connect() for _ in range(3)]
    results = await asyncio.gather(*(take(engine) for _ in range(4)), return_exceptions=True)
    assert [type(each) for each in results] == [PoolTimeoutError] * 4
    assert watch.snapshot() == pool(3, 3, timeouts=4)
    for connection in held:
        await connection.close()
    assert watch.snapshot() == pool(2, 0, timeouts=4)


async def test_a_cancelled_waiter_is_none(async_engine: AsyncEngine) -> None:
    """A waiter that is cancelled is neither a waiter nor a timeout, and takes nothing with it."""
    watch = watch_engine(async_engine)
    held = [await async_engine.connect() for _ in range(3)]
    cancelled, patient = (asyncio.create_task(take(async_engine)) for _ in range(2))
    await until_waiters_async(watch, 2)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert watch.snapshot() == pool(3, 3, waiters=1)
    await held.pop().close()
    held.append(await patient)
    assert watch.snapshot() == pool(3, 3)
    for connection in held:
        await connection.close()
    assert watch.snapshot() == pool(2, 0)


async def test_an_invalidated_connection_is_gone(async_engine: AsyncEngine) -> None:
    """An invalidated connection is no longer open, and its place takes a new one."""
    watch = watch_engine(async_engine)
    async with async_engine.connect() as connection:
        await connection.invalidate()
        assert watch.snapshot() == pool(0, 0)
    async with async_engine.connect():
        assert watch.snapshot() == pool(1, 1)


async def test_a_detached_connection_is_not_the_pools(async_engine: AsyncEngine) -> None:
    """A detached connection leaves the pool's counts, and closing it changes them no more."""
    watch = watch_engine(async_engine)
    async with async_engine.connect() as connection:
        await connection.run_sync(lambda sync: sync.detach())
        assert watch.snapshot() == pool(0, 0)
    assert watch.snapshot() == pool(0, 0)


async def test_a_connection_that_outlives_its_pool(async_engine: AsyncEngine) -> None:
    """After `dispose()` the new pool is watched, and the old one's connection until it closes."""
    watch = watch_engine(async_engine)
    old = async_engine.pool
    held = await async_engine.connect()
    await (await async_engine.connect()).close()
    assert watch.snapshot() == pool(2, 1)
    await async_engine.dispose()
    assert watch.snapshot() == pool(1, 1)
    fresh = [await async_engine.connect() for _ in range(3)]
    waiting = asyncio.create_task(take(async_engine))
    await until_waiters_async(watch, 1)
    assert watch.snapshot() == pool(4, 4, waiters=1)
    await held.close()  # into the old pool, where nobody waits
    assert watch.snapshot() == pool(4, 3, waiters=1)
    await fresh[0].run_sync(lambda _: old.dispose())
    assert watch.snapshot() == pool(3, 3, waiters=1)
    await fresh.pop().close()
    fresh.append(await waiting)
    assert watch.snapshot() == pool(3, 3)
    for connection in fresh:
        await connection.close()
    assert watch.snapshot() == pool(2, 0)


async def take(engine: AsyncEngine) -> AsyncConnection:
    """Acquire a connection."""
    return await engine.connect()
