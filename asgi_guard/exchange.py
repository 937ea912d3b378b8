"""One request and its response, as the guards of a stack see them.

Each guard that cares for responses would wrap `send`, and each that has something to give back
would wrap the app: four guards, four calls for every message, four coroutines for every request. In
a stack they share one of each, and say on the exchange what they want done.
"""

from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from asgi_guard._asgi import Message, Receive, Scope, Send
from asgi_guard.kept import KeptResponse

if TYPE_CHECKING:
    from asgi_guard.escaped import Refused
    from asgi_guard.refusal import Refusal

_SERVER_ERROR = 500

# What else than a body can be a response's last message, and the member that says there is more.
_OTHER_LAST = {
    "http.response.pathsend": "more_body",
    "http.response.zerocopysend": "more_body",
    "http.response.trailers": "more_trailers",
}

_SOCKET_ENDS = frozenset({"websocket.close", "websocket.http.response.start"})


class Exchange:
    """One request and its response, from the first guard to the last byte.

    Attributes:
        scope: The request's scope.
        receive: Where messages of the client come from; a guard that reads them puts its own here.
        to_client: Where messages go to the client; a guard that keeps some back puts its own here.
        began: When measuring began, on `perf_counter`; set where somebody measures.
        method: What the request is measured as; set there too.
        status: The status of the response, also of one that denies a websocket; 0 before it has
            begun.
        ended: When the last message had been sent, on `perf_counter`; 0 before, and where nobody
            has something to do then.
        fields: Header fields to add when the response begins.
        after_last: What to call, with the exchange, once the last message is out or the app has
            ended, whichever comes first. Whoever takes something writes here, in the same step,
            how to give it back.
        at_end: What to call, with the exchange, once the app has ended.
        cancelled: Whether the request was cancelled.
        keeps_500: Whether a bare 500 is kept back for a moment.
        kept: The response that was kept back, if one was.
        refused: What guards have refused inside the app, as errors that may escape it.
        connected: Whether the app has been told of the websocket; known where a guard reads along.
        accepted: Whether the websocket has been accepted.
        closed: Whether the websocket is closed, or has been refused.
    """

    __slots__ = (
        "_trailers",
        "accepted",
        "after_last",
        "at_end",
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
        "refused",
        "scope",
        "status",
        "to_client",
    )

    began: float
    method: str

    def __init__(self, scope: Scope, receive: Receive, send: Send, keeps_500: bool) -> None:
        self.scope: Scope = scope
        self.receive: Receive = receive
        self.to_client: Send = send
        self.status: int = 0
        self.ended: float = 0.0
        self.fields: tuple[tuple[bytes, bytes], ...] = ()
        self.after_last: tuple[Callable[[Exchange], None], ...] = ()
        self.at_end: tuple[Callable[[Exchange], None], ...] = ()
        self.cancelled: bool = False
        self.keeps_500: bool = keeps_500
        self.kept: KeptResponse | None = None
        self.refused: tuple[Refused, ...] = ()
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
                return self._keep(message)
            self.status = status
            if self.fields:
                headers = [*message.get("headers", ()), *self.fields]
                message = {**message}  # the app's own, and its list, stay as they are
                message["headers"] = headers
            if "trailers" in message:
                self._trailers = message["trailers"]
        elif kind == "http.response.body":
            if self.kept is not None and self.kept.holds:
                return self.kept.add(message)
            is_last = not self._trailers and not message.get("more_body", False)
            if is_last and (self.after_last or self.at_end):
                return self._send_last(message)
        else:
            return self._send_other(message)
        to_client = self.to_client
        return to_client(message)

    def refuse(
        self,
        refusal: "Refusal",
        retry_after: float | None,
        fields: Sequence[tuple[bytes, bytes]],
    ) -> Awaitable[bool]:
        """Send a refusal in place of the app's answer; see `Refusal.answer`."""
        return refusal.answer(self.scope, self.receive, self.send, retry_after, fields)

    def _send_other(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "websocket.send":
            return self.to_client(message)
        if kind.startswith("websocket."):
            if kind == "websocket.accept":
                self.accepted = True
            elif kind in _SOCKET_ENDS:
                self.closed = True
                self.status = message.get("status", 0)
            if kind in {"websocket.accept", "websocket.http.response.start"} and self.fields:
                message = {**message, "headers": [*message.get("headers", ()), *self.fields]}
        elif self.kept is not None and self.kept.holds:
            return self.kept.add(message)
        elif (
            kind in _OTHER_LAST
            and not message.get(_OTHER_LAST[kind], False)
            and (not self._trailers or kind == "http.response.trailers")
        ):
            return self._send_last(message)
        return self.to_client(message)

    async def _keep(self, message: Message) -> None:
        # In a coroutine: some servers call `send` in one thread and await it in another.
        self.kept = KeptResponse(self.send)
        await self.kept.add(message)

    async def _send_last(self, message: Message) -> None:
        to_client = self.to_client
        try:
            await to_client(message)
        finally:
            self.ended = perf_counter()
            calls, self.after_last = self.after_last, ()  # once, whatever an app sends after it
            for call in calls:
                call(self)
