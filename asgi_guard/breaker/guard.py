"""Breakers as a guard: what they refuse inside the app becomes an answer at its edge."""

from collections.abc import Sequence
from dataclasses import dataclass

from asgi_guard._asgi import ASGIApp, Message, Receive, Scope, Send
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.snapshot import BreakerSnapshot
from asgi_guard.errors import CircuitOpen, ConfigurationError
from asgi_guard.refusal import Refusal
from asgi_guard.response import Response
from asgi_guard.shell import Handle, Shell

_TRY_AGAIN_LATER = 1013  # RFC 6455 registry of close codes


@dataclass(frozen=True, slots=True)
class Breakers:
    """Turns a `CircuitOpen` that escapes the app into 503.

    It is also found inside exception groups (as task groups raise them) and as the `__cause__` of
    another error. A group that holds an unrelated error passes unchanged, as does everything
    once the response has begun. A bare 500 is held back until the app has ended, but no longer than
    a twentieth of a second: frameworks send one before they let the error out.

    What the client sees: 503 with problem details (RFC 9457) that name no downstream, and
    `Retry-After` from the breaker that will take longest. An accepted websocket is closed with
    code 1013.

    Args:
        breakers: The breakers the app uses, with names of their own; their state is shown in
            metrics and health; default none.

    Raises:
        ConfigurationError: Two have one name, or one is no `CircuitBreaker`.
    """

    breakers: Sequence[CircuitBreaker] = ()

    def __post_init__(self) -> None:
        """Refuse what are no breakers."""
        if not isinstance(self.breakers, list | tuple):
            raise ConfigurationError(
                "Breakers.breakers", self.breakers, "a list of CircuitBreaker objects"
            )
        names: set[str] = set()
        for breaker in self.breakers:
            if not isinstance(breaker, CircuitBreaker):
                raise ConfigurationError(
                    "Breakers.breakers", breaker, "CircuitBreaker objects, one for a downstream"
                )
            if breaker.name in names:
                raise ConfigurationError(
                    "CircuitBreaker.name", breaker.name, "a name that no other breaker has"
                )
            names.add(breaker.name)
        object.__setattr__(self, "breakers", tuple(self.breakers))

    def __call__(self, app: ASGIApp) -> "BreakersShell":
        """Wrap an ASGI app."""
        return BreakersShell(self, app)


class BreakersShell(Shell):
    """The ASGI app that `Breakers` returns."""

    def __init__(self, settings: Breakers, app: ASGIApp, inner: Handle | None = None) -> None:
        super().__init__(settings, app, inner)
        self._breakers = settings.breakers

    def snapshot(self) -> list[BreakerSnapshot]:
        """Return the state of every breaker."""
        return [breaker.snapshot() for breaker in self._breakers]

    async def handle(self, scope: Scope, receive: Receive, response: Response) -> None:
        """Run the app, and answer for the breakers that refused inside it."""
        if scope["type"] == "websocket":
            await self._websocket(scope, receive, response)
            return
        response.keeps_500 = True  # frameworks send one before they let the error out
        try:
            await self._inner(scope, receive, response)
        except Exception as error:
            refused = None if response.status else open_circuits(error)
            if not refused:
                await response.release_kept()
                raise
            response.discard_kept()
            await _CIRCUIT_OPEN.answer(scope, receive, response.send, _longest(refused))
        except BaseException:
            response.discard_kept()
            raise
        else:
            if response.kept is not None:
                await response.release_kept()

    async def _websocket(self, scope: Scope, receive: Receive, response: Response) -> None:
        socket = _Socket(receive, response.send)
        try:
            await self._inner(scope, socket.receive, Response(socket.send))
        except Exception as error:
            refused = None if socket.closed else open_circuits(error)
            if not refused:
                raise
            if socket.accepted:
                await response.send({"type": "websocket.close", "code": _TRY_AGAIN_LATER})
            else:
                await _CIRCUIT_OPEN.answer(scope, socket.connect, response.send, _longest(refused))


def open_circuits(error: BaseException) -> list[CircuitOpen]:
    """Return the `CircuitOpen` errors that an error is made of; none if it holds anything else."""
    found: list[CircuitOpen] = []
    parts, seen = [error], set[int]()
    while parts:
        part = parts.pop()
        if id(part) in seen:
            continue  # errors can share a cause, or be each other's
        seen.add(id(part))
        if isinstance(part, CircuitOpen):
            found.append(part)
        elif isinstance(part, BaseExceptionGroup):
            parts.extend(part.exceptions)
        elif part.__cause__ is not None:
            parts.append(part.__cause__)
        else:
            return []
    return found


def _longest(refused: Sequence[CircuitOpen]) -> float | None:
    waits = [each.retry_after for each in refused if each.retry_after is not None]
    return max(waits, default=None)


class _Socket:
    """One websocket: what has been said on it so far."""

    __slots__ = ("_connected", "_receive", "_send", "accepted", "closed")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._connected: Message | None = None
        self.accepted = False
        self.closed = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "websocket.connect":
            self._connected = message
        elif message["type"] == "websocket.disconnect":
            self.closed = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] != "websocket.send":  # a close, or a denial of the app's own
            self.closed = True
        await self._send(message)

    async def connect(self) -> Message:
        """Return the connect message, whether or not the app has read it."""
        return self._connected or await self._receive()


_CIRCUIT_OPEN = Refusal(
    503,
    "Service Unavailable",
    "Something this request needs is out of service.",
    kind="temporary-reduced-capacity",
)
