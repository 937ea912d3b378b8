"""An ASGI server for one exchange, in memory: says what it is told to, keeps what it hears."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from asgi_guard._asgi import ASGIApp, Message, Scope


class Exchange:
    """One request or connection: the messages the app reads, and those it has sent.

    Args:
        scope: The scope to call the app with.
        incoming: What `receive` returns, in order; then it waits until `say()` adds something.
    """

    def __init__(self, scope: Scope, incoming: Iterable[Message] = ()) -> None:
        self.scope = scope
        self.sent: list[Message] = []
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        for message in incoming:
            self._incoming.put_nowait(message)

    def say(self, message: Message) -> None:
        """Add a message for the app to read."""
        self._incoming.put_nowait(message)

    async def receive(self) -> Message:
        """Return the next message."""
        return await self._incoming.get()

    async def send(self, message: Message) -> None:
        """Keep a message of the app, after letting the loop go round once."""
        await asyncio.sleep(0)
        self.sent.append(message)

    async def run(self, app: ASGIApp) -> "Exchange":
        """Call the app, and return once it has ended."""
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def starts(self) -> list[Message]:
        """The response starts among what was sent."""
        kinds = ("http.response.start", "websocket.http.response.start")
        return [message for message in self.sent if message["type"] in kinds]

    @property
    def status(self) -> int:
        """The status of the one response."""
        (start,) = self.starts
        return int(start["status"])

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of the one response."""
        (start,) = self.starts
        return {name.decode(): value.decode() for name, value in start["headers"]}

    @property
    def body(self) -> bytes:
        """The whole body of the response."""
        return b"".join(message.get("body", b"") for message in self.sent)


def http_scope(
    path: str = "/",
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    client: tuple[str, int] | None = ("192.0.2.1", 50000),
    **more: Any,
) -> dict[str, Any]:
    """Return the scope of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": client,
        "server": ("127.0.0.1", 8000),
        "extensions": {},
        "state": {},
        **more,
    }


def websocket_scope(path: str = "/", *, denial: bool = True, **more: Any) -> dict[str, Any]:
    """Return the scope of a websocket; `denial`: the server can send an HTTP response instead."""
    scope = http_scope(path, **more)
    del scope["method"]
    extensions: dict[str, Any] = {"websocket.http.response": {}} if denial else {}
    return {**scope, "type": "websocket", "scheme": "ws", "extensions": extensions}


def get(path: str = "/", **more: Any) -> Exchange:
    """Return a request whose body is empty and has been received."""
    scope = http_scope(path, **more)
    return Exchange(scope, [{"type": "http.request", "body": b"", "more_body": False}])


def connect(path: str = "/", **more: Any) -> Exchange:
    """Return a websocket that wants to be accepted."""
    return Exchange(websocket_scope(path, **more), [{"type": "websocket.connect"}])


async def hello(scope: Scope, receive: Any, send: Any) -> None:
    """Answer every request with a greeting."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})
    await send({"type": "http.response.body", "body": b"hello"})
