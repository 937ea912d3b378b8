"""How a guard says no: in one way, whichever guard it is."""

import json

from tests.contract.guards import Refuser
from tests.driver import Exchange, connect, get, websocket_scope


async def test_a_refusal_is_problem_details(refuser: Refuser) -> None:
    """RFC 9457, not to be cached, with a whole number of seconds to wait."""
    app = refuser.guard()(refuser.app)
    async with refuser.full(app):
        exchange = await get().run(app)
    problem = json.loads(exchange.body)
    assert exchange.status == problem["status"] == refuser.status
    assert exchange.headers["content-type"] == "application/problem+json"
    assert exchange.headers["cache-control"] == "no-store"
    assert int(exchange.headers["content-length"]) == len(exchange.body)
    wait = int(exchange.headers["retry-after"])
    assert wait >= 1
    assert {"type", "title", "status", "detail"} <= problem.keys()
    assert problem["detail"].endswith(f"Retry in {wait} s.")


async def test_a_refused_head_has_no_body(refuser: Refuser) -> None:
    """HEAD gets the fields of the refusal alone."""
    app = refuser.guard()(refuser.app)
    async with refuser.full(app):
        exchange = await get(method="HEAD").run(app)
    assert (exchange.status, exchange.body) == (refuser.status, b"")


async def test_a_refused_websocket_gets_the_same_answer(socket_refuser: Refuser) -> None:
    """Where the server can send an HTTP response in place of the accept."""
    app = socket_refuser.guard()(socket_refuser.app)
    async with socket_refuser.full(app):
        exchange = await connect().run(app)
    kinds = [message["type"] for message in exchange.sent]
    assert kinds == ["websocket.http.response.start", "websocket.http.response.body"]
    assert exchange.status == json.loads(exchange.body)["status"] == socket_refuser.status
    assert int(exchange.headers["retry-after"]) >= 1


async def test_a_refused_websocket_is_closed_elsewhere(socket_refuser: Refuser) -> None:
    """A close before the accept: servers turn it into 403."""
    app = socket_refuser.guard()(socket_refuser.app)
    async with socket_refuser.full(app):
        exchange = await connect(denial=False).run(app)
    assert exchange.sent == [{"type": "websocket.close", "code": 1013}]


async def test_a_websocket_that_left_is_not_answered(socket_refuser: Refuser) -> None:
    """Nobody is there to read a refusal."""
    app = socket_refuser.guard()(socket_refuser.app)
    async with socket_refuser.full(app):
        gone = Exchange(websocket_scope(), [{"type": "websocket.disconnect", "code": 1006}])
        await gone.run(app)
    assert gone.sent == []
