"""One request and its response, as the guards of a stack see them.

Each guard that cares for responses would wrap `send`, and each that has something to give back
would wrap the app: four guards, four calls for every message, four coroutines for every request. In
a stack they share one of each, and say on the exchange what they want done.
"""

from collections.abc import Awaitable, Callable
from time import perf_counter

from asgi_guard._asgi import Message, Receive, Scope, Send
from asgi_guard.kept import KeptResponse

_SERVER_ERROR = 500

# What else than a body can be a response's last message, and the member that says there is more.
_OTHER_LAST = {
    "http.response.pathsend": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
}


class Exchange:
    """One request and its response, from the first guard to the last byte.

    Attributes:
        scope: The request's scope.
        receive: Where messages of the client come from; a guard that reads them puts its own here.
        began: When measuring began, on `perf_counter`.
        method: What the request is measured as.
        status: The status of the response; 0 before it has begun.
        ended: When the last message was sent, on `perf_counter`; 0 before.
        fields: Header fields to add when the response begins.
        after_last: What to call, with the exchange, once the last message is out or the app has
            ended, whichever comes first. Whoever takes something writes here, in the same step,
            how to give it back.
        cancelled: Whether the request was cancelled.
        keeps_500: Whether a bare 500 is kept back for a moment.
        kept: The response that was kept back, if one was.
        connected: Whether the app has been told of the websocket; known where a guard reads along.
        accepted: Whether the websocket has been accepted.
        closed: Whether the websocket is closed, or has been refused.
    """

    __slots__ = (
        "_send",
        "_trailers",
        "accepted",
        "after_last",
        "began",
        "cancelled",
        "closed",
        "connected",
        "ended",
        "fields",
        "keeps_500",
        "kept",
        "method",
        "receive",
        "scope",
        "status",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send, keeps_500: bool) -> None:
        self.scope: Scope = scope
        self.receive: Receive = receive
        self._send = send
        self.began: float = 0.0
        self.method: str = ""
        self.status: int = 0
        self.ended: float = 0.0
        self.fields: tuple[tuple[bytes, bytes], ...] = ()
        self.after_last: tuple[Callable[[Exchange], None], ...] = ()
        self.cancelled: bool = False
        self.keeps_500: bool = keeps_500
        self.kept: KeptResponse | None = None
        self.connected: bool = False
        self.accepted: bool = False
        self.closed: bool = False
        self._trailers: bool = False

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
        if kind == "websocket.send":
            return self._send(message)
        if kind.startswith("websocket."):
            if kind == "websocket.accept":
                self.accepted = True
            else:  # a close, or a denial of the app's own
                self.closed = True
            if kind in {"websocket.accept", "websocket.http.response.start"} and self.fields:
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

    async def _send_last(self, message: Message) -> None:
        try:
            await self._send(message)
        finally:
            calls, self.after_last = self.after_last, ()  # once, whatever an app sends after it
            for call in calls:
                call(self)

    def give_back(self) -> None:
        """Give back what was taken for this request, if that has not happened."""
        calls, self.after_last = self.after_last, ()
        for call in calls:
            call(self)
