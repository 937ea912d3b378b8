"""Breakers as a guard: what they refuse inside the app becomes an answer at its edge."""

from collections.abc import Sequence
from dataclasses import dataclass

from asgi_guard._asgi import ASGIApp
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.registration import begin_work
from asgi_guard.errors import CircuitOpen, ConfigurationError, DownstreamBusy
from asgi_guard.escaped import answer_instead, is_answerable, made_of, read_along
from asgi_guard.exchange import Exchange
from asgi_guard.refusal import Refusal
from asgi_guard.shell import Admission, Layer, Shell


@dataclass(frozen=True, slots=True)
class Breakers:
    """Turns a `CircuitOpen` or a `DownstreamBusy` that escapes the app into 503.

    It is also found inside exception groups (as task groups raise them) and as the `__cause__` of
    another error. A group that holds an unrelated error passes unchanged, as does everything
    once the response has begun. A bare 500 is held back until the app has ended, but no longer than
    a twentieth of a second: frameworks send one before they let the error out.

    What the client sees: 503 with problem details (RFC 9457) that name no downstream, and
    `Retry-After` from the one that will take longest. An accepted websocket is closed with
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
            breaker.registration.is_settled = True
        object.__setattr__(self, "breakers", tuple(self.breakers))

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        shell = Shell(self, app, [BreakersLayer()])
        begin_work(shell)
        return shell


class BreakersLayer(Layer):
    """`Breakers` round one app.

    Attributes:
        too_late: Refusals that left the app when its response had begun.
    """

    keeps_500 = True  # frameworks send one before they let the error out

    def __init__(self) -> None:
        self.too_late: int = 0

    def admit_socket(self, exchange: Exchange) -> Admission:
        """Admit the handshake, and read along: a refusal depends on how far the socket is."""
        read_along(exchange)
        return None

    async def recover(self, exchange: Exchange, error: Exception) -> bool:
        """Answer for the breakers that refused inside the app."""
        refused = made_of(error, *_REFUSED)
        if not refused:
            return False
        if not is_answerable(exchange):
            self.too_late += 1
            return False
        is_busy = all(isinstance(each, DownstreamBusy) for each in refused)
        await answer_instead(exchange, _BUSY if is_busy else _CIRCUIT_OPEN, _longest(refused))
        return True


def _longest(refused: Sequence[CircuitOpen | DownstreamBusy]) -> float | None:
    waits = [each.retry_after for each in refused if each.retry_after is not None]
    return max(waits, default=None)


_CIRCUIT_OPEN = Refusal(
    503,
    "Service Unavailable",
    "Something this request needs is out of service.",
    kind="temporary-reduced-capacity",
)
_BUSY = Refusal(
    503,
    "Service Unavailable",
    "Something this request needs is busy.",
    kind="temporary-reduced-capacity",
)
_REFUSED: tuple[type[CircuitOpen | DownstreamBusy], ...] = (CircuitOpen, DownstreamBusy)
