"""What a guard shows of an engine on PostgreSQL: exact in the metrics, and never a secret."""

from urllib.parse import quote

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard import Guard, Health
from tests.pools.conftest import SMALL, MakeAsyncEngine
from tests.pools.guarded import guarded
from tests.pools.postgres import PASSWORD, Postgres
from tests.servers.reading import Reading

CONNECTIONS = "asgi_guard_db_pool_connections"


async def test_metrics_say_what_the_pool_does(make_async_engine: MakeAsyncEngine) -> None:
    """Each pool gauge is the truth of the moment it is scraped at."""
    engine = make_async_engine(**{**SMALL, "pool_timeout": 0.05})
    async with guarded(engine) as client:

        async def scrape() -> dict[str, float | None]:
            reading = Reading((await client.get("/metrics")).text)
            names = ("limit", "size", "waiters", "saturation_ratio", "timeouts_total")
            found = {n: reading.value(f"asgi_guard_db_pool_{n}", pool="main") for n in names}
            for state in ("used", "idle"):
                found[state] = reading.value(CONNECTIONS, pool="main", state=state)
            return found

        still = {"limit": 3, "size": 2, "waiters": 0, "timeouts_total": 0}
        assert await scrape() == {**still, "saturation_ratio": 0, "used": 0, "idle": 0}
        held = [await engine.connect() for _ in range(3)]
        await held.pop().close()
        assert await scrape() == {**still, "saturation_ratio": 2 / 3, "used": 2, "idle": 1}
        held.append(await engine.connect())
        with pytest.raises(PoolTimeoutError):
            await engine.connect()
        still["timeouts_total"] = 1
        assert await scrape() == {**still, "saturation_ratio": 1, "used": 3, "idle": 0}
        for connection in held:
            await connection.close()
        assert await scrape() == {**still, "saturation_ratio": 0, "used": 0, "idle": 2}


async def test_a_full_pool_is_a_warning(async_engine: AsyncEngine) -> None:
    """The report warns of a full pool, and readiness does not fail with it."""
    async with guarded(async_engine, ttl=60) as client:
        assert (await client.get("/health")).json()["status"] == "pass"
        held = [await async_engine.connect() for _ in range(3)]
        report = (await client.get("/health")).json()
        assert report["status"] == "warn"
        assert report["checks"]["database"]["status"] == "pass"
        assert report["checks"]["pool:main"] == {
            "status": "warn",
            "used": 3,
            "idle": 0,
            "limit": 3,
            "waiters": 0,
        }
        assert (await client.get("/readyz")).status_code == 200
        for connection in held:
            await connection.close()
        assert (await client.get("/health")).json()["status"] == "pass"


async def test_a_check_that_waits_for_a_full_pool_harms_nobody(async_engine: AsyncEngine) -> None:
    """Asking through a full pool fails in time, leaves no waiter behind, and passes afterwards."""
    async with guarded(async_engine, critical=True) as client:
        held = [await async_engine.connect() for _ in range(3)]
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        reading = Reading((await client.get("/metrics")).text)
        assert reading.value("asgi_guard_db_pool_waiters") == 0
        for connection in held:
            await connection.close()
        assert (await client.get("/readyz")).status_code == 200
        reading = Reading((await client.get("/metrics")).text)
        assert reading.value(CONNECTIONS, state="used") == 0


async def test_nothing_shows_the_password(
    postgres: Postgres, caplog: pytest.LogCaptureFixture
) -> None:
    """The password of a URL is in no body, no metric, no log line and no repr, failing or not."""
    right = postgres.url("asyncpg")
    shown: list[str] = []
    for url, status in (
        (right, "pass"),
        (right.replace("tell-nobody", "wrong-tell-nobody"), "fail"),
    ):
        engine = create_async_engine(url)
        shown.append(repr(Guard(pools={"main": engine}, health=Health(checks={"db": engine}))))
        async with guarded(engine, critical=True) as client:
            shown += [(await client.get(path)).text for path in ("/readyz", "/health", "/metrics")]
        assert f'"status": "{status}"' in shown[-2]
        await engine.dispose()
    assert quote(PASSWORD, safe="") in right
    for text in (*shown, caplog.text):
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
