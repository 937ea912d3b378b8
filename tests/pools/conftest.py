"""Engines on real databases, closed when the test has ended."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tests.pools.postgres import Postgres
from tests.processes import Children

MakeEngine: TypeAlias = Callable[..., Engine]
MakeAsyncEngine: TypeAlias = Callable[..., AsyncEngine]

SMALL = {"pool_size": 2, "max_overflow": 1, "pool_timeout": 10}


@pytest.fixture(scope="session")
def postgres(children: Children) -> Postgres:
    """Return the PostgreSQL server that all tests share."""
    return Postgres(children, children.folder / "postgres")


@pytest.fixture(params=["psycopg", "sqlite"])
def make_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeEngine]:
    """Return a function that makes sync engines on one of the databases."""
    url = _url(request, tmp_path)
    opened: list[Any] = []

    def make(**options: Any) -> Engine:
        engine = create_engine(url, **options)
        event.listen(engine, "connect", lambda connection, _: opened.append(connection))
        return engine

    yield make
    for connection in opened:  # the pool would leave those open that a failed test still holds
        connection.close()


@pytest.fixture(params=["asyncpg", "aiosqlite"])
async def make_async_engine(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[MakeAsyncEngine]:
    """Return a function that makes async engines on one of the databases."""
    url = _url(request, tmp_path)
    opened: list[Any] = []

    def make(**options: Any) -> AsyncEngine:
        engine = create_async_engine(url, **options)
        event.listen(engine.sync_engine, "connect", lambda connection, _: opened.append(connection))
        return engine

    yield make
    for connection in opened:  # the pool would leave those open that a failed test still holds
        await connection.driver_connection.close()


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    """Return a sync engine whose pool holds three."""
    return make_engine(**SMALL)


@pytest.fixture
async def async_engine(make_async_engine: MakeAsyncEngine) -> AsyncEngine:
    """Return an async engine whose pool holds three."""
    return make_async_engine(**SMALL)


def _url(request: pytest.FixtureRequest, folder: Path) -> str:
    driver = request.param
    if "sqlite" in driver:
        dialect = "sqlite" if driver == "sqlite" else f"sqlite+{driver}"
        return f"{dialect}:///{folder / 'database'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url(driver)
