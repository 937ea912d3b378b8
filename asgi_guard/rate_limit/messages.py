"""Limits on what websockets receive: each message is charged before the app gets it."""

from asyncio import CancelledError, sleep
from collections import deque
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from asgi_guard._asgi import Message
from asgi_guard.exchange import Exchange
from asgi_guard.keys import open_connection
from asgi_guard.rate_limit.fields import Field
from asgi_guard.rate_limit.stores.store import Store
from asgi_guard.refusal import Refusal

if TYPE_CHECKING:
    from asgi_guard.rate_limit.guard import RateLimit
    from asgi_guard.rate_limit.layer import RateLimitLayer

OnExcess: TypeAlias = Literal["close", "drop", "delay"]
EXCESSES: tuple[str, ...] = get_args(OnExcess)

_QUOTA_EXCEEDED = 429
_POLICY_VIOLATION = 1008  # RFC 6455, section 7.4.1
_TRY_AGAIN_LATER = 1013
_LONGEST_REASON = 123  # bytes that a close frame has room for
_LONGEST_SLEEP = 60.0  # seconds
_SHORTEST_SLEEP = 0.001


def message_rules(settings: "RateLimit", store: Store) -> "RateLimit":
    """Return the limit whose requests are the messages, over the same store."""
    return type(settings)(
        *settings.messages,
        store=store,
        fields=None,
        on_store_failure=settings.on_store_failure,
        store_timeout=settings.store_timeout,
        workers=settings.workers,
        exempt=settings.exempt,
        shadow=settings.shadow,
        switch=settings.switch,
    )


class MessageLimit:
    """The rules for messages, at work round one app.

    Args:
        layer: What decides.
        on_excess: What becomes of a message over quota.
    """

    def __init__(self, layer: "RateLimitLayer", on_excess: OnExcess) -> None:
        self.layer: RateLimitLayer = layer
        self._on_excess = on_excess

    def watch(self, exchange: Exchange) -> None:
        """Charge the messages of a websocket, from now on."""
        open_connection(exchange.scope)
        exchange.receive = Door(exchange, self.layer, self._on_excess).receive

    async def watch_if(self, admission: Awaitable[bool], exchange: Exchange) -> bool:
        """Do so once its handshake is admitted; return whether it is."""
        is_admitted = await admission
        if is_admitted:
            self.watch(exchange)
        return is_admitted


class Arrival(Exchange):
    """A message that asks to be let in: what is refused is noted, not answered.

    Args:
        exchange: The websocket.

    Attributes:
        excess: The last refusal, and the seconds after which another attempt may pass.
    """

    __slots__ = ("excess",)

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange.scope, exchange.receive, exchange.send, keeps_500=False)
        self.excess: tuple[Refusal, float | None] | None = None

    async def refuse(
        self,
        refusal: Refusal,
        retry_after: float | None,
        fields: Sequence[Field],  # noqa: ARG002 - there is no response to carry them
    ) -> bool:
        """Take note of the refusal; return False: the message is not admitted."""
        self.excess = refusal, retry_after
        return False


class Door:
    """Where the messages of one websocket come in.

    Args:
        exchange: The websocket.
        layer: What decides.
        on_excess: What becomes of a message over quota.
    """

    __slots__ = ("_arrival", "_end", "_exchange", "_from_client", "_kept", "_layer", "_on_excess")

    def __init__(self, exchange: Exchange, layer: "RateLimitLayer", on_excess: OnExcess) -> None:
        self._exchange = exchange
        self._from_client = exchange.receive
        self._arrival = Arrival(exchange)
        self._layer = layer
        self._on_excess = on_excess
        self._kept: deque[Message] = deque()
        self._end: Message | None = None

    async def receive(self) -> Message:
        """Return the next message that is admitted; once closed, what ends the websocket."""
        while self._end is None:
            message = self._kept.popleft() if self._kept else await self._from_client()
            if message["type"] != "websocket.receive":
                return message
            try:
                if await self._admits():
                    return message
            except CancelledError:  # whoever gives up waiting has not given up the message
                self._kept.append(message)
                raise
        return self._end

    async def _admits(self) -> bool:
        """Charge a message, and do what is done with one over quota."""
        while True:
            admission = self._layer.admit_socket(self._arrival)
            if admission is None or await admission:
                return True
            assert self._arrival.excess is not None  # noqa: S101 - it was noted a moment ago
            refusal, wait = self._arrival.excess
            if self._on_excess == "drop":
                await sleep(0)  # a client that floods must not keep the loop to itself
                return False
            if self._on_excess == "close" or wait is None:
                await self._close(refusal)
                return False
            await sleep(min(max(wait, _SHORTEST_SLEEP), _LONGEST_SLEEP))

    async def _close(self, refusal: Refusal) -> None:
        """Close the websocket, unless the app has: the client is told once, and so is the app."""
        is_over = refusal.status == _QUOTA_EXCEEDED
        why: Message = {
            "code": _POLICY_VIOLATION if is_over else _TRY_AGAIN_LATER,
            "reason": refusal.detail[:_LONGEST_REASON],  # rules have ASCII names
        }
        self._end = {"type": "websocket.disconnect", **why}
        exchange = self._exchange
        if exchange.closed:
            return
        closing = exchange.send({"type": "websocket.close", **why})
        exchange.to_client = send_no_more
        with suppress(OSError):  # the client was quicker
            await closing


async def send_no_more(message: Message) -> None:
    """Stand for the server where a guard has closed the websocket.

    A further close is dropped, since apps close what they leave.

    Raises:
        ConnectionAbortedError: An `OSError`, as servers raise once a client is gone: it ends what
            sends on and on, and frameworks know it.
    """
    if message["type"] != "websocket.close":
        raise ConnectionAbortedError("the websocket is closed: its client sent too many messages")
