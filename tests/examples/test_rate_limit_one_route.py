"""The limit holds on its route and nowhere else."""

from examples.rate_limit_one_route import app
from tests.examples.conftest import Visit, until_refused


async def test_the_sixth_login_of_an_address_is_refused(visit: Visit) -> None:
    """Each address has a quota of its own, and is told of it."""
    async with visit(app) as client, visit(app) as somebody_else:
        first = await client.post("/login")
        assert first.headers["ratelimit-policy"] == '"5/minute";q=5;w=60'
        assert await until_refused(client, "POST", "/login") in (4, 5)
        refused = await client.post("/login")
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.headers["content-type"] == "application/problem+json"
        assert (await somebody_else.post("/login")).status_code == 200


async def test_the_other_route_is_not_limited(visit: Visit) -> None:
    """A guard on a route guards that route."""
    async with visit(app) as client:
        answers = [await client.get("/") for _ in range(20)]
        assert {answer.text for answer in answers} == {"hello"}
        assert not any("ratelimit" in answer.headers for answer in answers)
