"""Answers of the user's own to requests over quota."""

import json
from math import ceil
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse

from asgi_guard import Breakers, ConfigurationError, QuotaExceeded, RateLimit, Rule
from tests.driver import connect, get, hello
from tests.rate_limit.limiting import Limited


def too_many(scope: Any, error: QuotaExceeded) -> JSONResponse:
    """Answer with what there is to know."""
    body = {"path": scope["path"], "rules": error.rules, "wait": error.retry_after}
    return JSONResponse({**body, "says": str(error)}, status_code=420)


async def later(scope: Any, error: QuotaExceeded) -> Any:
    """Answer the same, after asking somebody."""
    return too_many(scope, error)


@pytest.mark.parametrize("answer", [too_many, later])
async def test_a_refused_request_gets_the_answer(answer: Any) -> None:
    """With what the function is told, and the fields that are the guard's to know."""
    rule = Rule("1/minute", name="few")
    limited, usual = Limited(rule, answer=answer), Limited(rule)
    assert (await get().run(limited.app)).body == b"hello"
    refused = await get("/shop").run(limited.app)
    _, like = [await get().run(usual.app) for _ in range(2)]
    assert refused.status == 420
    assert refused.headers["content-type"] == "application/json"
    for name in ("cache-control", "retry-after", "ratelimit", "ratelimit-policy"):
        assert refused.headers[name] == like.headers[name]
    told = json.loads(refused.body)
    assert ceil(told.pop("wait")) == int(like.headers["retry-after"])
    says = 'Quota "few" is used up.'
    assert told == {"path": "/shop", "rules": ["few"], "says": says}
    assert limited.counts() == usual.counts() == [(1, 1, 0)]


async def test_what_the_answer_says_itself_is_not_said_again() -> None:
    """In any case of the name, though ASGI wants lower case."""

    async def raw(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Retry-After", b"7"), (b"cache-control", b"private")]
        await send({"type": "http.response.start", "status": 429, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})

    limited = Limited("1/minute", answer=lambda scope, error: raw)
    _, refused = [await get().run(limited.app) for _ in range(2)]
    names = [name.lower() for name, _ in refused.starts[0]["headers"]]
    assert sorted(names) == [b"cache-control", b"ratelimit", b"ratelimit-policy", b"retry-after"]
    assert refused.headers["Retry-After"] == "7"
    assert refused.headers["cache-control"] == "private"


async def test_what_can_never_be_admitted_has_no_time_to_retry() -> None:
    """The function is told None."""
    limited = Limited(Rule("1/minute", cost=2), answer=too_many)
    refused = await get().run(limited.app)
    assert b'"wait":null' in refused.body
    assert "retry-after" not in refused.headers


async def test_websockets_are_answered_as_usual() -> None:
    """A response is none for them."""
    limited = Limited("1/minute", answer=too_many)
    _, refused = [await connect().run(limited.app) for _ in range(2)]
    assert refused.status == 429
    assert refused.headers["content-type"] == "application/problem+json"


async def test_an_error_of_the_function_passes() -> None:
    """Unchanged, and nothing has been sent."""

    def broken(scope: Any, error: QuotaExceeded) -> Any:
        raise LookupError("no template")

    limited = Limited("1/minute", answer=broken)
    await get().run(limited.app)
    refused = get()
    with pytest.raises(LookupError, match="no template"):
        await refused.run(limited.app)
    assert refused.sent == []


@pytest.mark.parametrize("returned", [None, "no", {"error": "no"}])
async def test_what_is_no_app_is_named(returned: Any) -> None:
    """The function, and what it returned."""

    def wrong(scope: Any, error: QuotaExceeded) -> Any:
        return returned

    limited = Limited("1/minute", answer=wrong)
    await get().run(limited.app)
    with pytest.raises(TypeError, match=r"the answer function .*wrong returned .*an ASGI app"):
        await get().run(limited.app)


async def test_a_coroutine_that_nobody_awaits_is_named() -> None:
    """It must be an `async def` that is given."""

    def unawaited(scope: Any, error: QuotaExceeded) -> Any:
        return later(scope, error)

    limited = Limited("1/minute", answer=unawaited)
    await get().run(limited.app)
    with pytest.raises(TypeError, match="must be an `async def`"):
        await get().run(limited.app)


async def test_fields_of_guards_outside_are_kept() -> None:
    """A nested guard answers for itself, and what the outer one adds is added."""
    inner = RateLimit(Rule("1/minute", name="inner"), answer=too_many)
    app = RateLimit(Rule("9/minute", name="outer"))(Breakers()(inner(hello)))
    _, refused = [await get().run(app) for _ in range(2)]
    assert refused.status == 420
    lists = [value for name, value in refused.starts[0]["headers"] if name == b"ratelimit-policy"]
    assert lists == [b'"inner";q=1;w=60', b'"outer";q=9;w=60']


@pytest.mark.parametrize(
    "answer",
    [PlainTextResponse("no"), JSONResponse, "no", lambda: None, lambda scope: None],
)
def test_a_wrong_answer_is_named(answer: Any) -> None:
    """When the object is made: a response takes three arguments, and is sent once."""
    with pytest.raises(ConfigurationError) as raised:
        RateLimit("1/minute", answer=answer)
    assert raised.value.field == "RateLimit.answer"
