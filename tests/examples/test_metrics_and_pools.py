"""The scrape shows requests by route, the pool, and the app's own metric."""

from examples.demo.visitor import Scrape
from examples.metrics_and_pools import app, engine
from tests.examples.conftest import Visit


async def test_requests_and_the_pool_are_on_metrics(visit: Visit) -> None:
    """One scrape holds the requests by route, the pool and the counter of the app."""
    async with visit(app) as client:
        for name in ("Ada", "Grace"):
            assert (await client.get(f"/greet/{name}")).text == f"hello {name}"
        scrape = Scrape((await client.get("/metrics")).text)
    await engine.dispose()
    requests = "http_server_request_duration_seconds_count"
    assert scrape.value(requests, http_route="/greet/{name}") == 2
    assert scrape.value("asgi_guard_db_pool_limit", pool="main") == 5
    assert scrape.value("asgi_guard_db_pool_connections", pool="main", state="idle") == 1
    assert scrape.value("greetings_total") == 2
