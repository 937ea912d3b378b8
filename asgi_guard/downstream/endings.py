"""How dials and connections end, and what that says of the server and of the next dial."""

from collections.abc import Mapping
from dataclasses import dataclass

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.retry_after import retry_after
from asgi_guard.breaker.states import Outcome
from asgi_guard.breaker.statuses import outcome_of_status, status_of

FATAL = frozenset({401, 403, 404, 1008})
"""Statuses of handshakes, and close codes, after which another dial would end alike."""

_FAILURES = frozenset({1006, 1011, 1012, 1013, 1014})  # lost; error, restart, overload, bad gateway


@dataclass(frozen=True, slots=True)
class Ending:
    """How a dial, or the connection that it brought, ended.

    Attributes:
        outcome: What it says of the server.
        why: What a log line calls it.
        code: The status of the handshake, or the close code; default None: there was none.
        wait: Seconds that the server asked for; default 0.
        error: What the dial ended with; default None: a connection was made.
    """

    outcome: Outcome
    why: str
    code: int | None = None
    wait: float = 0.0
    error: Exception | None = None


def ending_of_dial(error: Exception, breaker: CircuitBreaker, now: float) -> Ending:
    """Return how a dial ended that brought no connection.

    Args:
        error: What it ended with.
        breaker: Judges it, where it carries no status.
        now: Seconds since 1970, for a `Retry-After` that is a date.
    """
    status = status_of(error)
    if status is None:
        return Ending(breaker.judge(error), type(error).__name__, error=error)
    outcome = outcome_of_status(status)
    if outcome is Outcome.SUCCESS:
        outcome = Outcome.IGNORED  # it has answered, and opened no websocket
    return Ending(outcome, f"status {status}", status, _asked_wait(error, now), error)


def ending_of_connection(code: int | None) -> Ending:
    """Return how a connection ended that did not last.

    Args:
        code: Its close code; None where it was open when it was left.
    """
    if code is None:
        return Ending(Outcome.IGNORED, "left open")
    outcome = Outcome.FAILURE if code in _FAILURES else Outcome.IGNORED
    return Ending(outcome, f"close code {code}", code)


def _asked_wait(error: Exception, now: float) -> float:
    for holder in (getattr(error, "response", None), error):
        headers = getattr(holder, "headers", None)
        if isinstance(headers, Mapping):
            said = headers.get("Retry-After")
            if isinstance(said, str):
                return retry_after(said, now, headers.get("Date")) or 0.0
    return 0.0
