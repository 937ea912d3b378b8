"""One object, every guard: each of them answers."""

from examples.demo.visitor import Scrape
from examples.full_stack import app, engine
from tests.examples.conftest import Visit, until_refused


async def test_every_guard_of_the_stack_answers(visit: Visit) -> None:
    """A refusal, a scrape and a probe of one app."""
    async with visit(app) as client:
        assert "sqlite" in (await client.get("/")).json()
        assert await until_refused(client, "POST", "/login") in (5, 6)
        scrape = Scrape((await client.get("/metrics")).text)
        assert scrape.value("asgi_guard_rate_limit_decisions_total", decision="denied") >= 1
        assert scrape.value("asgi_guard_concurrency_limit", limiter="requests") >= 64
        assert scrape.value("asgi_guard_db_pool_connections", pool="main", state="idle") >= 1
        assert scrape.circuit_state("mail") in {"closed", "open"}
        assert (await client.get("/readyz")).json() == {"status": "pass"}
    await engine.dispose()


async def test_an_open_circuit_is_503(visit: Visit) -> None:
    """The error passes while the circuit is closed, and is answered once it is open."""
    async with visit(app) as client:
        for _ in range(5):
            try:
                await client.post("/invite")
            except ConnectionError:
                continue
        assert (await client.post("/invite")).status_code == 503
    await engine.dispose()
