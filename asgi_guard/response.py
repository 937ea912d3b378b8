"""The response of one request on its way out.

Each guard that cares for responses would wrap `send`: four guards, four calls for every message. In
a stack they share one wrapper instead, and each says on it what it wants.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter

from asgi_guard._asgi import Message, Send

_SERVER_ERROR = 500

_WEBSOCKET_STARTS = frozenset({"websocket.accept", "websocket.http.response.start"})

# What else than a body can be a response's last message, and the member that says there is more.
_OTHER_LAST = {
    "http.response.pathsend": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
}


class Response:
    """A `send` that knows what has been said, and does what guards want done.

    Attributes:
        status: The status of the response; 0 before it has begun.
        ended: When the last message was sent, on `perf_counter`; 0 before.
        fields: Header fields to add when it begins.
        after_last: What to call once the last message is out.
        over: Whether that has been called.
        keeps_500: Whether a bare 500 is kept until `release()` or `discard()`.
    """

    # Defaults of the class: most responses change few of them.
    status: int = 0
    ended: float = 0.0
    fields: tuple[tuple[bytes, bytes], ...] = ()
    after_last: tuple[Callable[[], None], ...] = ()
    over: bool = False
    keeps_500: bool = False
    _kept: list[Message] | None = None
    _trailers: bool = False

    def __init__(self, send: Send) -> None:
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message; give this method to an app as its `send`."""
        kind = message["type"]
        if kind == "http.response.start":
            self.status = status = message["status"]
            if status == _SERVER_ERROR and self.keeps_500:
                return self._keep(message)
            if self.fields:
                message = {**message, "headers": [*message.get("headers", ()), *self.fields]}
            if "trailers" in message:
                self._trailers = message["trailers"]
        elif kind == "http.response.body":
            if self._kept is not None:
                return self._keep(message)
            if not self._trailers and not message.get("more_body", False):
                self.ended = perf_counter()
                if self.after_last:
                    return self._send_last(message)
        else:
            return self._send_other(message)
        return self._send(message)

    def _send_other(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind in _WEBSOCKET_STARTS:
            if self.fields:
                message = {**message, "headers": [*message.get("headers", ()), *self.fields]}
        elif self._kept is not None:
            return self._keep(message)
        elif (
            kind in _OTHER_LAST
            and not message.get(_OTHER_LAST[kind], False)
            and (not self._trailers or kind == "http.response.trailers")
        ):
            self.ended = perf_counter()
            return self._send_last(message)
        return self._send(message)

    async def release(self) -> None:
        """Send what was kept."""
        kept, self._kept, self.keeps_500 = self._kept or (), None, False
        for message in kept:
            await self.send(message)

    def discard(self) -> None:
        """Drop what was kept: something else is answered."""
        self._kept, self.keeps_500 = None, False

    async def _send_last(self, message: Message) -> None:
        try:
            await self._send(message)
        finally:
            self.over = True
            for call in self.after_last:
                call()

    async def _keep(self, message: Message) -> None:
        self.status = 0  # it has not begun
        if self._kept is None:
            self._kept = []
        self._kept.append(message)
        kind = message["type"]
        last = kind == "http.response.body" and not message.get("more_body", False)
        if kind != "http.response.start" and not last:
            await self.release()  # it goes on, so it is the app's own answer
