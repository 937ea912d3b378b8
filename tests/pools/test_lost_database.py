"""A PostgreSQL that goes away: what the guard answers, how soon, and how it comes back."""

import os
import re
import time

import anyio
import httpx
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard.pools.sqlalchemy import watch_engine
from tests.pools.expected import until_unused
from tests.pools.guarded import guarded
from tests.pools.postgres import Postgres
from tests.processes import Children
from tests.servers.reading import Reading

# Probes give up after a second, so a check may take half of one; the rest is for slow machines.
SOON = 2.5
THREADS = min(32, (os.cpu_count() or 1) + 4)  # those of an event loop, which all share


@pytest.fixture(scope="module")
def doomed(children: Children) -> Postgres:
    """Return a server of our own, which may be killed and frozen."""
    return Postgres(children, children.folder / "doomed")


@pytest.fixture(params=["asyncpg", "psycopg"])
def engine(request: pytest.FixtureRequest, doomed: Postgres) -> Engine | AsyncEngine:
    """Return an engine, async and sync."""
    make = create_async_engine if request.param == "asyncpg" else create_engine
    made: Engine | AsyncEngine = make(doomed.url(request.param), pool_size=2)
    return made


async def test_a_killed_database(engine: Engine | AsyncEngine, doomed: Postgres) -> None:
    """The report warns at once and counts no connection; after a restart it passes again."""
    async with guarded(engine) as client:
        assert (await client.get("/health")).json()["status"] == "pass"
        assert (await connections(client)) == (0, 1)
        doomed.kill()
        try:
            for _ in range(2):
                began = time.monotonic()
                report = await client.get("/health")
                assert time.monotonic() - began < SOON
                assert report.status_code == 200
                check = report.json()["checks"]["database"]
                assert check["status"] == "warn"
                assert re.fullmatch(r"\w+", check["output"])  # the error's class, not its words
            assert (await connections(client)) == (0, 0)
        finally:
            doomed.restart()
        assert (await client.get("/health")).json()["status"] == "pass"
        assert (await connections(client)) == (0, 1)
    await dispose(engine)


async def test_a_killed_database_that_is_critical(
    engine: Engine | AsyncEngine, doomed: Postgres
) -> None:
    """Readiness fails with a critical database, liveness does not."""
    async with guarded(engine, critical=True) as client:
        assert (await client.get("/readyz")).status_code == 200
        doomed.kill()
        try:
            began = time.monotonic()
            answers = {path: await client.get(path) for path in ("/readyz", "/health", "/livez")}
            assert time.monotonic() - began < 2 * SOON
        finally:
            doomed.restart()
        assert {path: each.status_code for path, each in answers.items()} == {
            "/readyz": 503,
            "/health": 503,
            "/livez": 200,
        }
        assert int(answers["/readyz"].headers["retry-after"]) >= 1
        assert answers["/readyz"].json() == {"status": "fail"}
        assert (await client.get("/readyz")).status_code == 200
    await dispose(engine)


async def test_a_database_that_does_not_answer(
    engine: Engine | AsyncEngine, doomed: Postgres
) -> None:
    """A database that takes connections and says nothing is a timeout, and leaves no waiter."""
    async with guarded(engine) as client:
        with doomed.frozen():
            began = time.monotonic()
            report = (await client.get("/health")).json()
            assert time.monotonic() - began < SOON
            assert report["checks"]["database"]["status"] == "warn"
            assert report["checks"]["database"]["output"] == "TimeoutError"
            assert (await client.get("/livez")).status_code == 200
        assert await passes_again(client)
        await until_unused(watch_engine(engine))
    await dispose(engine)


async def test_a_check_that_hangs_is_not_asked_again(doomed: Postgres) -> None:
    """Asking on and on about a hanging database piles no threads up, and scrapes are answered."""
    engine = create_engine(doomed.url("psycopg"))
    async with guarded(engine, within=0.05) as client:
        with doomed.frozen():
            for _ in range(THREADS + 1):
                assert (await client.get("/health")).json()["status"] == "warn"
            with anyio.fail_after(SOON):
                assert (await client.get("/metrics")).status_code == 200
            assert watch_engine(engine).snapshot().waiters == 1
        assert await passes_again(client)
    await dispose(engine)


async def connections(client: httpx.AsyncClient) -> tuple[float | None, float | None]:
    """Return how many connections are used and idle, as the metrics say."""
    reading = Reading((await client.get("/metrics")).text)
    name = "asgi_guard_db_pool_connections"
    return reading.value(name, state="used"), reading.value(name, state="idle")


async def passes_again(client: httpx.AsyncClient) -> bool:
    """Tell whether the report comes to pass."""
    for _ in range(20):
        if (await client.get("/health")).json()["status"] == "pass":
            return True
        await anyio.sleep(0.1)
    return False


async def dispose(engine: Engine | AsyncEngine) -> None:
    """Close what the engine has open."""
    if isinstance(engine, AsyncEngine):
        await engine.dispose()
    else:
        engine.dispose()
