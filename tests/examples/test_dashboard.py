"""While its downstream is out, the dashboard shows what it last knew, and says so."""

from asgi_guard import BreakerState
from examples.dashboard import app, stock
from tests.examples.conftest import Visit


async def test_it_shows_the_last_number_and_its_age(visit: Visit) -> None:
    """First for calls that fail, then for calls that are not made any more."""
    assert stock.breaker is not None
    async with visit(app) as client:
        assert (await client.get("/")).json() == {"bolts": 4}
        reasons = []
        for _ in range(5):
            answer = await client.get("/", params={"down": ""})
            assert answer.status_code == 200
            shown = answer.json()
            assert shown["bolts"] == 4
            assert shown["stale_since_seconds"] >= 0
            reasons.append(shown["because"])
        assert reasons == ["ConnectionError"] * 3 + ["CircuitOpen"] * 2
        assert stock.breaker.state is BreakerState.OPEN
        assert (await client.get("/health")).json() == {"status": "warn"}
        stock.breaker.close()
        assert (await client.get("/")).json() == {"bolts": 4}
