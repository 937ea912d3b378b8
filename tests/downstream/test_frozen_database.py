"""An engine behind a breaker, on a real PostgreSQL that stands still and goes on."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard import CircuitBreaker, CircuitOpen
from asgi_guard.downstream.sqlalchemy import guard_engine
from asgi_guard.testing import FakeClock
from tests.downstream.conftest import LOOPS, breaker, counts
from tests.pools.postgres import Postgres
from tests.processes import Children

AT_ONCE = 0.5  # seconds
COMMAND = 0.4  # seconds that the driver gives a statement
CONNECT = 0.4  # seconds that it gives connecting
POOL = 1.0  # seconds that the pool gives a caller
IN_TIME = POOL + 3 * COMMAND + CONNECT + AT_ONCE
CROWD = 20
TICKET = "SELECT nextval('tickets'), pg_sleep(0.05)"


@pytest.fixture(scope="module")
def postgres(children: Children) -> Postgres:
    """Return a server of our own, which may be frozen."""
    return Postgres(children, children.folder / "postgres-that-freezes")


@pytest.fixture(params=list(LOOPS))
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run on both loops."""
    return LOOPS[request.param]


@pytest.fixture
async def engine(postgres: Postgres) -> AsyncIterator[AsyncEngine]:
    """Return an engine whose pool holds three, and whose driver does not wait for ever."""
    times = {"command_timeout": COMMAND, "timeout": CONNECT}
    engine = create_async_engine(
        postgres.url("asyncpg"),
        pool_size=2,
        max_overflow=1,
        pool_timeout=POOL,
        connect_args=times,
    )
    yield engine
    await engine.dispose()


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


async def test_a_database_that_stands_still_and_goes_on(
    engine: AsyncEngine, postgres: Postgres, shop: CircuitBreaker, clock: FakeClock
) -> None:
    """Calls end in time, then fail fast; one at a time tries it, and all are served afterwards."""
    guard_engine(engine, shop)
    before = await tickets(engine)
    assert await crowd(engine) == CROWD
    with postgres.standing_still():
        assert await crowd(engine) == 0
        assert shop.state.value == "open"
        failures = counts(shop)[1]
        assert await crowd(engine, within=AT_ONCE) == 0
        assert counts(shop)[1] == failures
        clock.advance(5.0)
        assert await crowd(engine) == 0
        assert counts(shop)[1] == failures + 1  # of one that has tried
        assert shop.retry_after == 10.0
        assert await crowd(engine, within=AT_ONCE) == 0
    clock.advance(10.0)
    asked = await crowd(engine, TICKET, within=IN_TIME)
    assert asked in {0, 1}  # the trial may have been to connect, and no more
    if shop.state.value == "half-open":
        asked += await crowd(engine, TICKET)
    assert 1 <= asked <= 2
    assert shop.state.value == "closed"
    assert await crowd(engine, TICKET) == CROWD
    # So many, and no others, have come through to the server.
    assert await tickets(engine) - before == asked + CROWD + 1
    pool: Any = engine.pool
    assert pool.checkedout() == 0


async def crowd(engine: AsyncEngine, statement: str = "SELECT 1", within: float = IN_TIME) -> int:
    """Let many ask at once; return how many were answered. All have to be done in time."""
    answered = 0

    async def ask() -> None:
        nonlocal answered
        try:
            async with engine.begin() as connection:
                await connection.execute(text(statement))
        except (CircuitOpen, DBAPIError, PoolTimeoutError, OSError):
            return
        answered += 1

    with anyio.fail_after(within):
        async with anyio.create_task_group() as group:
            for _ in range(CROWD):
                group.start_soon(ask)
    return answered


async def tickets(engine: AsyncEngine) -> int:
    """Take a ticket; return how many the server has given out."""
    async with engine.begin() as connection:
        await connection.execute(text("CREATE SEQUENCE IF NOT EXISTS tickets"))
        return int((await connection.execute(text("SELECT nextval('tickets')"))).scalar_one())
