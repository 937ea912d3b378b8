"""The smallest middleware that a limiter without one can be put into."""

from collections.abc import Awaitable, Callable

from asgi_guard._asgi import ASGIApp, Receive, Scope, Send

Admits = Callable[[str], Awaitable[bool]]
"""Charges a client, by its address, and tells whether it may pass."""

_BODY = b'{"detail":"Too Many Requests"}'
_HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(_BODY)),
]


class Limited:
    """Answers with 429 where a limiter says no, and adds nothing to what it lets pass."""

    def __init__(self, app: ASGIApp, admits: Admits) -> None:
        self._app = app
        self._admits = admits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app if the client may pass."""
        if scope["type"] != "http" or await self._admits(scope["client"][0]):
            await self._app(scope, receive, send)
        else:
            await send({"type": "http.response.start", "status": 429, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": _BODY})
