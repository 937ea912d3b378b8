"""What a guard lets through, it leaves as it is."""

from typing import Any

import pytest

from asgi_guard import Swappable
from asgi_guard._asgi import ASGIGuard
from asgi_guard.current import CURRENT
from tests.driver import Exchange, connect, get, hello, http_scope


@pytest.mark.parametrize("kind", ["lifespan", "webtransport", "asgi_guard.unheard.of"])
async def test_other_scope_types_are_untouched(
    guard: ASGIGuard, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app gets the very objects that the server gave."""
    monkeypatch.setattr(CURRENT, "has_open", False)  # functions of other tests may have stores
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([scope, receive, send])

    scope = {"type": kind}

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    await guard(app)(scope, receive, send)
    given = [id(scope), id(receive), id(send)]
    if isinstance(guard, Swappable) and kind == "lifespan":
        given[2] = id(seen[2])  # by its end, there may be something to close
    assert [id(each) for each in seen] == given
    assert scope == {"type": kind}


async def test_the_app_gets_the_servers_scope(guard: ASGIGuard) -> None:
    """Frameworks leave their traces in the scope, so it must be the same dictionary."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await hello(scope, receive, send)

    exchange = await get().run(guard(app))
    assert seen[0] is exchange.scope


async def test_a_scope_is_left_as_it_was(guard: ASGIGuard) -> None:
    """A server, or a test, may use the scope again."""
    exchange = get("/one", headers={"accept": "*/*"})
    before = dict(exchange.scope)
    await exchange.run(guard(hello))
    assert exchange.scope == before


async def test_a_stream_has_one_start_and_is_not_held_back(guard: ASGIGuard) -> None:
    """Each chunk is out before the app sends the next."""
    exchange = get()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(5):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": True})
            assert exchange.body == b"01234"[: number + 1]
        await send({"type": "http.response.body", "body": b""})

    await exchange.run(guard(app))
    assert exchange.status == 200
    assert [m["body"] for m in exchange.sent[1:]] == [b"0", b"1", b"2", b"3", b"4", b""]


async def test_every_kind_of_message_passes(guard: ASGIGuard) -> None:
    """Early hints, trailers and whatever is invented next are not a guard's business."""
    messages: list[dict[str, Any]] = [
        {"type": "http.response.early_hint", "links": [b"</a.css>; rel=preload"]},
        {"type": "http.response.start", "status": 200, "headers": [], "trailers": True},
        {"type": "http.response.body", "body": b"x"},
        {"type": "http.response.trailers", "headers": [(b"x-sum", b"1")], "more_trailers": False},
        {"type": "http.response.unheard.of", "value": 1},
    ]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(message)

    exchange = await get().run(guard(app))
    kinds = [message["type"] for message in exchange.sent]
    assert kinds == [message["type"] for message in messages]
    assert exchange.sent[3:] == messages[3:]


async def test_what_the_client_says_is_passed_in_order(guard: ASGIGuard) -> None:
    """The body, and then the news that the client has left, as often as the app asks."""
    exchange = Exchange(
        http_scope(method="POST"),
        [
            {"type": "http.request", "body": b"a", "more_body": True},
            {"type": "http.request", "body": b"b", "more_body": False},
            {"type": "http.disconnect"},
        ],
    )
    heard: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.extend([(await receive())["type"] for _ in range(3)])

    await exchange.run(guard(app))
    assert heard == ["http.request", "http.request", "http.disconnect"]
    assert exchange.sent == []


async def test_background_work_begins_after_the_last_byte(guard: ASGIGuard) -> None:
    """The client does not wait for what an app does after its response."""
    exchange = get()
    sent_before: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        sent_before.append(len(exchange.sent))

    await exchange.run(guard(app))
    assert sent_before == [2]


async def test_the_apps_header_list_is_not_changed(guard: ASGIGuard) -> None:
    """An app may send the same list for every request."""
    headers = [(b"x-app", b"yes")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    guarded = guard(app)
    first = await get().run(guarded)
    second = await get().run(guarded)
    assert headers == [(b"x-app", b"yes")]
    assert first.starts[0]["headers"][0] == second.starts[0]["headers"][0] == (b"x-app", b"yes")


async def test_the_apps_message_is_not_changed(guard: ASGIGuard) -> None:
    """An app may send the same messages for every request."""
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]}
    body = {"type": "http.response.body", "body": b""}
    before = {**start}, {**body}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send(body)

    await get().run(guard(app))
    assert (start, body) == before


async def test_a_start_without_header_fields_passes(guard: ASGIGuard) -> None:
    """The ASGI specification makes `headers` optional."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    assert (await get().run(guard(app))).status == 204


async def test_a_websocket_passes(guard: ASGIGuard) -> None:
    """It is accepted, talks both ways, and ends."""
    exchange = connect()
    exchange.say({"type": "websocket.receive", "text": "ping"})
    exchange.say({"type": "websocket.disconnect", "code": 1000})

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        heard = await receive()
        await send({"type": "websocket.send", "text": heard["text"]})
        assert (await receive())["type"] == "websocket.disconnect"

    await exchange.run(guard(app))
    kinds = [message["type"] for message in exchange.sent]
    assert kinds == ["websocket.accept", "websocket.send"]
    assert exchange.sent[1]["text"] == "ping"
