"""When an app fails, is cancelled or says nothing, a guard adds nothing and keeps nothing."""

import asyncio
from typing import Any

import pytest

from asgi_guard._asgi import ASGIGuard
from tests.driver import Exchange, connect, get, hello, http_scope


class AppError(Exception):
    """What the app raises."""


async def test_an_error_before_the_start_is_raised_as_it_is(guard: ASGIGuard) -> None:
    """The same object comes out, and nothing was sent."""
    error = AppError()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    exchange = get()
    with pytest.raises(AppError) as raised:
        await exchange.run(guard(app))
    assert raised.value is error
    assert exchange.sent == []


@pytest.mark.parametrize("status", [200, 500, 503])
async def test_an_error_after_the_start_is_raised_as_it_is(guard: ASGIGuard, status: int) -> None:
    """What was sent stays sent, and no second response begins."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"par", "more_body": True})
        raise AppError

    exchange = get()
    with pytest.raises(AppError):
        await exchange.run(guard(app))
    assert exchange.status == status
    assert exchange.body == b"par"


async def test_a_complete_500_before_an_error_is_sent(guard: ASGIGuard) -> None:
    """Frameworks answer 500 and raise the error as well: both must come out."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"sorry"})
        raise AppError

    exchange = get()
    with pytest.raises(AppError):
        await exchange.run(guard(app))
    assert (exchange.status, exchange.body) == (500, b"sorry")


async def test_cancellation_reaches_the_app_and_comes_back(guard: ASGIGuard) -> None:
    """Nobody swallows it, and the guarded app goes on serving others."""
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/hello":
            return await hello(scope, receive, send)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    guarded = guard(app)
    task = asyncio.create_task(get("/sleep").run(guarded))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == ["cancelled"]
    assert (await get("/hello").run(guarded)).status == 200


async def test_an_app_that_sends_nothing_is_left_alone(guard: ASGIGuard) -> None:
    """The server knows what to do with it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    assert (await get().run(guard(app))).sent == []


async def test_an_app_without_lifespan_says_so_itself(guard: ASGIGuard) -> None:
    """The server asks by trying, and must see the app's own error."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise AppError
        await hello(scope, receive, send)

    guarded = guard(app)
    with pytest.raises(AppError):
        await Exchange({"type": "lifespan"}).run(guarded)
    assert (await get().run(guarded)).status == 200


async def test_lifespan_is_passed_both_ways(guard: ASGIGuard) -> None:
    """Startup and shutdown, and the state that the app keeps."""
    exchange = Exchange(
        {"type": "lifespan", "state": {}},
        [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}],
    )

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["state"]["ready"] = True
        for phase in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{phase}"
            await send({"type": f"lifespan.{phase}.complete"})

    await exchange.run(guard(app))
    assert exchange.scope["state"] == {"ready": True}
    kinds = [message["type"] for message in exchange.sent]
    assert kinds == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_failing_send_is_the_apps_to_see(guard: ASGIGuard) -> None:
    """A server may raise when the client has left; the app's handling of it must work."""
    seen: list[type[BaseException]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await hello(scope, receive, send)
        except OSError as error:
            seen.append(type(error))

    async def send(message: Any) -> None:
        raise ConnectionResetError

    guarded = guard(app)
    await guarded(http_scope(), get().receive, send)
    assert seen == [ConnectionResetError]
    assert (await get().run(guarded)).status == 200


async def test_an_error_on_an_accepted_websocket_is_raised_as_it_is(guard: ASGIGuard) -> None:
    """The server closes it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        raise AppError

    exchange = connect()
    with pytest.raises(AppError):
        await exchange.run(guard(app))
    assert [message["type"] for message in exchange.sent] == ["websocket.accept"]
