"""Three failures open the circuit; from then on the client gets 503 without a call."""

import pytest

from asgi_guard import BreakerState, CircuitBreaker
from examples.breaker import app, payments, stock
from tests.examples.conftest import Visit


@pytest.mark.parametrize(
    ("path", "breaker"), [("/pay", payments), ("/reserve", stock)], ids=["block", "decorator"]
)
async def test_a_failing_downstream_is_not_called_any_more(
    visit: Visit, path: str, breaker: CircuitBreaker
) -> None:
    """As a block and as a decorator: three failures, then a refusal that says when to come back."""
    async with visit(app) as client:
        assert (await client.get(path)).text == "done"
        failing = [await client.get(path, params={"down": ""}) for _ in range(3)]
        assert [answer.status_code for answer in failing] == [502] * 3
        assert breaker.state is BreakerState.OPEN
        refused = await client.get(path)
        assert refused.status_code == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        assert refused.headers["content-type"] == "application/problem+json"
