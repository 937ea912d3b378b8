"""The response of one request on its way out.

Each guard that cares for responses would wrap `send`: four guards, four calls for every message. In
a stack they share one wrapper instead, and each says on it what it wants.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter

from asgi_guard._asgi import Message, Send
from asgi_guard.kept import KeptResponse

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
        keeps_500: Whether a bare 500 is kept back for a moment.
        kept: The response that was kept back, if one was.
    """

    # Defaults of the class: most responses change few of them.
    status: int = 0
    ended: float = 0.0
    fields: tuple[tuple[bytes, bytes], ...] = ()
    after_last: tuple[Callable[[], None], ...] = ()
    keeps_500: bool = False
    kept: KeptResponse | None = None
    _trailers: bool = False

    def __init__(self, send: Send) -> None:
        self._send = send

    def send(self, message: Message) -> Awaitable[None]:
        """Send a message; give this method to an app as its `send`."""
        kind = message["type"]
        if kind == "http.response.start":
            status = message["status"]
            if status == _SERVER_ERROR and self.keeps_500 and self.kept is None:
                self.kept = KeptResponse(self.send)
                return self.kept.add(message)
            self.status = status
            if self.fields:
                message = {**message, "headers": [*message.get("headers", ()), *self.fields]}
            if "trailers" in message:
                self._trailers = message["trailers"]
        elif kind == "http.response.body":
            if self.kept is not None and self.kept.holds:
                return self.kept.add(message)
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
        elif self.kept is not None and self.kept.holds:
            return self.kept.add(message)
        elif (
            kind in _OTHER_LAST
            and not message.get(_OTHER_LAST[kind], False)
            and (not self._trailers or kind == "http.response.trailers")
        ):
            self.ended = perf_counter()
            return self._send_last(message)
        return self._send(message)

    def call_now(self, call: Callable[[], None]) -> None:
        """Call now what was to be called after the last message, if that has not happened."""
        others = tuple(each for each in self.after_last if each is not call)
        if len(others) < len(self.after_last):
            self.after_last = others
            call()

    async def release_kept(self) -> None:
        """Send what was kept back, if anything was."""
        if self.kept is not None:
            await self.kept.release()

    def discard_kept(self) -> None:
        """Drop what was kept back: something else is answered, or nobody listens any more."""
        if self.kept is not None:
            self.kept.discard()

    async def _send_last(self, message: Message) -> None:
        try:
            await self._send(message)
        finally:
            calls, self.after_last = self.after_last, ()  # once, whatever an app sends after it
            for call in calls:
                call()
