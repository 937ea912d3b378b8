"""Readiness waits for the critical check; the report shows all, to those who may see it."""

import httpx

from examples.health_checks import app, engine
from tests.examples.conftest import Visit


async def test_an_instance_is_ready_once_it_is_warm(visit: Visit) -> None:
    """The critical check decides about readiness, and the report names every check."""
    async with visit(app) as client:
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        await client.post("/warm-up")
        assert (await client.get("/readyz")).status_code == 200
        report = (await client.get("/health")).json()
    await engine.dispose()
    assert set(report["checks"]) == {"database", "disk", "warm"}
    assert report["checks"]["database"]["status"] == "pass"


async def test_strangers_see_only_the_status() -> None:
    """Who comes from elsewhere is not told what the app stands on."""
    transport = httpx.ASGITransport(app, client=("192.0.2.1", 50000))
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as stranger:
        assert set((await stranger.get("/health")).json()) == {"status"}
    await engine.dispose()
