"""Breakers at the edge: what they refuse inside becomes an answer outside."""

import asyncio
import json
from typing import Any

import pytest

from asgi_guard import (
    Breakers,
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    Guard,
    RateLimit,
    Rule,
)
from tests.driver import Exchange, connect, get, hello

PAYMENTS = CircuitBreaker("payments")


def refusal(wait: float | None = 7.2) -> CircuitOpen:
    """Return the error of a breaker that is open."""
    return CircuitOpen("circuit 'payments' is not closed", wait, "payments")


def raising(error: BaseException) -> Any:
    """Return an app that fails so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return Breakers()(app)


def caused(by: BaseException) -> Exception:
    """Return an error with a cause."""
    error = RuntimeError("could not pay")
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "wait"),
    [
        (refusal(), "8"),
        (ExceptionGroup("", [refusal(2), refusal(9.5)]), "10"),
        (ExceptionGroup("", [ExceptionGroup("", [refusal(2)])]), "2"),
        (caused(refusal()), "8"),
        (caused(caused(refusal())), "8"),
        (caused(ExceptionGroup("", [refusal()])), "8"),
        (ExceptionGroup("", [caused(refusal(3)), refusal(2)]), "3"),
        (refusal(0.0), "1"),
        (refusal(-5.0), "1"),
        (refusal(1e300), "3162240000"),
        (refusal(float("inf")), "3162240000"),
        (refusal(float("nan")), "3162240000"),
    ],
)
async def test_an_open_circuit_is_503(error: BaseException, wait: str) -> None:
    """Wherever it is found, with the longest wait of all, and no word of who it was."""
    exchange = await get().run(raising(error))
    assert (exchange.status, exchange.headers["retry-after"]) == (503, wait)
    assert b"payments" not in exchange.body


async def test_functions_of_guards_inside_are_answered_for() -> None:
    """In a stack, the breakers answer for all of it; by hand, for what is inside of them."""

    def looked_up(scope: Any) -> str:
        raise refusal()

    limit = RateLimit(Rule("5/minute", key=looked_up, name="a"))
    for app in (Guard(rate_limit=limit, breakers=[PAYMENTS])(hello), Breakers()(limit(hello))):
        assert (await get().run(app)).status == 503
    with pytest.raises(CircuitOpen):
        await get().run(limit(Breakers()(hello)))


async def test_without_a_known_wait_none_is_promised() -> None:
    """Retry-After is left out."""
    exchange = await get().run(raising(refusal(None)))
    assert exchange.status == 503
    assert "retry-after" not in exchange.headers
    assert "Retry in" not in json.loads(exchange.body)["detail"]


def loop() -> BaseException:
    """Return an error that is its own cause, over one corner."""
    first, second = RuntimeError(), RuntimeError()
    first.__cause__, second.__cause__ = second, first
    return first


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(),
        ExceptionGroup("", [refusal(), OSError()]),
        caused(OSError()),
        loop(),
    ],
)
async def test_other_errors_pass(error: BaseException) -> None:
    """The same object; a group that holds anything else is somebody's real trouble."""
    with pytest.raises(type(error)) as raised:
        await get().run(raising(error))
    assert raised.value is error


async def test_a_context_is_no_cause() -> None:
    """An error raised while handling a refusal is an error of its own."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise refusal()
        except CircuitOpen:
            raise KeyError from None

    with pytest.raises(KeyError):
        await get().run(Breakers()(app))


async def test_a_task_group_in_the_app_is_answered() -> None:
    """As apps really raise them."""
    breaker = CircuitBreaker("payments", consecutive_failures=1)

    async def pay() -> None:
        async with breaker:
            raise OSError

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(pay())

    guarded = Breakers([breaker])(app)
    with pytest.raises(ExceptionGroup):
        await get().run(guarded)
    assert (await get().run(guarded)).status == 503


@pytest.mark.parametrize("body", [b"", b"Internal Server Error"])
async def test_a_frameworks_500_gives_way(body: bytes) -> None:
    """Starlette answers 500 before it lets the error out."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": body})
        raise refusal()

    exchange = await get().run(Breakers()(app))
    assert exchange.status == 503
    assert len(exchange.sent) == 2


async def test_what_has_begun_is_not_begun_again() -> None:
    """The error passes, and the server breaks the response off."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise refusal()

    exchange = get()
    with pytest.raises(CircuitOpen):
        await exchange.run(Breakers()(app))
    assert exchange.status == 200


async def test_a_streamed_500_is_not_held_back() -> None:
    """With its second chunk, at the latest, it is the app's answer."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b", "more_body": True})
        assert (exchange.status, exchange.body) == (500, b"ab")
        await send({"type": "http.response.body", "body": b"c"})

    await exchange.run(Breakers()(app))
    assert exchange.body == b"abc"


async def test_a_500_without_a_body_yet_is_not_held_back_for_long() -> None:
    """The first chunk of a stream may take its time."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        async with asyncio.timeout(10):
            while not exchange.sent:  # noqa: ASYNC110 - an exchange is a list, and tells nobody
                await asyncio.sleep(0.01)
        await send({"type": "http.response.body", "body": b"at last"})

    await exchange.run(Breakers()(app))
    assert (exchange.status, exchange.body) == (500, b"at last")


async def test_a_server_that_fails_late_is_heard() -> None:
    """Nothing is sent after the failure, and the request sees it."""
    tried: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        async with asyncio.timeout(10):
            while not tried:  # noqa: ASYNC110 - a list tells nobody
                await asyncio.sleep(0.01)

    async def send(message: Any) -> None:
        tried.append(message["type"])
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await Breakers()(app)(get().scope, get().receive, send)
    assert tried == ["http.response.start"]


async def test_a_middleware_may_take_a_moment_to_pass_the_error_on() -> None:
    """Between the framework and the guard."""

    async def framework(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise refusal()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        try:
            await framework(scope, receive, send)
        except Exception:
            await asyncio.sleep(0.001)
            raise

    assert (await get().run(Breakers()(middleware))).status == 503


async def sent(exchange: Exchange) -> None:
    """Work in the background until a response is out."""
    async with asyncio.timeout(10):
        while len(exchange.sent) < 2:  # noqa: ASYNC110 - an exchange is a list, and tells nobody
            await asyncio.sleep(0.01)


async def test_a_500_of_the_apps_own_does_not_wait_for_background_work() -> None:
    """It is kept back for a moment, and not until the app has ended."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        await sent(exchange)

    await exchange.run(Breakers()(app))
    assert (exchange.status, exchange.body) == (500, b"sorry")


async def test_a_500_that_is_out_is_not_taken_back() -> None:
    """An error that comes too late is the server's."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        await sent(exchange)
        raise refusal()

    with pytest.raises(CircuitOpen):
        await exchange.run(Breakers()(app))
    assert (exchange.status, exchange.body) == (500, b"sorry")


async def test_a_cancelled_app_leaves_no_500_behind() -> None:
    """Nothing is sent after the server has given the request up."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        await asyncio.sleep(60)

    task = asyncio.create_task(exchange.run(Breakers()(app)))
    for _ in range(3):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    for _ in range(100):
        await asyncio.sleep(0)
    assert exchange.sent == []


async def test_a_streamed_500_keeps_its_order() -> None:
    """Also when two tasks send it, and one of them uses a message again."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        message = {"type": "http.response.body", "body": b"0", "more_body": True}
        first = asyncio.create_task(send(message))
        await asyncio.sleep(0)
        message["body"] = b"changed"
        for number in range(1, 4):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
        await first
        await send({"type": "http.response.body"})

    await exchange.run(Breakers()(app))
    assert (exchange.status, exchange.body) == (500, b"0123")


async def test_errors_that_share_a_cause_are_answered() -> None:
    """A group of errors whose cause is one refusal."""
    cause = refusal()
    exchange = await get().run(raising(ExceptionGroup("", [caused(cause), caused(cause)])))
    assert exchange.status == 503


async def test_an_error_raised_from_its_own_group_passes() -> None:
    """Group and error lead to each other."""
    group = ExceptionGroup("", [ValueError()])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise group.exceptions[0] from group

    with pytest.raises(ValueError):  # noqa: PT011 - the very object, with its cause
        await get().run(Breakers()(app))


async def test_a_websocket_that_has_read_connect_is_refused() -> None:
    """Most frameworks read it before the handler runs."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise refusal()

    assert (await connect().run(Breakers()(app))).status == 503


async def test_an_accepted_websocket_is_closed() -> None:
    """With the code that says to try again later."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise refusal()

    exchange = await connect().run(Breakers()(app))
    assert exchange.sent[1:] == [{"type": "websocket.close", "code": 1013}]


@pytest.mark.parametrize("kind", ["websocket.close", "websocket.http.response.start"])
async def test_a_websocket_that_was_answered_is_left_alone(kind: str) -> None:
    """A second answer would be an error of ours."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": kind, "status": 403, "headers": []})
        raise refusal()

    exchange = connect()
    with pytest.raises(CircuitOpen):
        await exchange.run(Breakers()(app))
    assert len(exchange.sent) == 1


@pytest.mark.parametrize("breakers", ["payments", [1], CircuitBreaker("a"), None])
def test_breakers_are_breakers(breakers: Any) -> None:
    """In a list."""
    with pytest.raises(ConfigurationError, match=r"Breakers\.breakers"):
        Breakers(breakers)


def test_names_are_unique() -> None:
    """Two breakers with one name would be one series."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.name is 'a'"):
        Breakers([CircuitBreaker("a"), CircuitBreaker("a")])


async def test_a_500_may_be_sent_from_a_thread() -> None:
    """Adapters call `send` in a worker thread, and await it in the loop."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            for message in (
                {"type": "http.response.start", "status": 500, "headers": []},
                {"type": "http.response.body", "body": b"broken"},
            ):
                asyncio.run_coroutine_threadsafe(send(message), loop).result(5)

        await asyncio.to_thread(work)

    answer = await get().run(Breakers()(app))
    assert (answer.status, answer.body) == (500, b"broken")


async def test_a_kept_500_keeps_its_fields() -> None:
    """Though the app uses its list of fields again."""
    fields = [(b"x-request", b"first")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": fields})
        fields[:] = [(b"x-request", b"second")]
        await send({"type": "http.response.body", "body": b""})

    assert (await get().run(Breakers()(app))).headers["x-request"] == "first"


async def test_an_unknown_message_closes_no_websocket() -> None:
    """Extensions may send what we have not heard of."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.note"})
        raise refusal()

    assert (await connect().run(Breakers()(app))).sent[-1] == {
        "type": "websocket.close",
        "code": 1013,
    }
