"""Every error of the package.

GuardError
├── ConfigurationError      a setting is wrong; raised when the object is made, never later
├── ReconnectStopped        a lost connection is not dialled again
└── Rejected                a guard refused; at the HTTP edge it is answered, in code it is raised
    ├── QuotaExceeded           429: this caller is over its quota
    ├── ConcurrencyExceeded     503: no permit was free in time
    ├── CircuitOpen             503: the breaker of a downstream is not closed
    └── DownstreamBusy          503: a downstream could not be called in time
"""

__all__ = [
    "CallTimeout",
    "CircuitOpen",
    "ConcurrencyExceeded",
    "ConfigurationError",
    "DownstreamBusy",
    "GuardError",
    "QuotaExceeded",
    "ReconnectStopped",
    "Rejected",
    "StoreUnavailable",
]

_LONGEST_VALUE = 200


class GuardError(Exception):
    """The root of every error that asgi_guard raises."""


class ConfigurationError(GuardError, ValueError):
    """A setting is wrong: the message names the field, its value and what is allowed.

    Args:
        field: The setting, such as `ConcurrencyLimit.limit`.
        value: What it was set to.
        allowed: What it may be set to, and the remedy where there is one.
    """

    def __init__(self, field: str, value: object, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        self._shown = shown(value)
        super().__init__(field, self._shown, allowed)

    def __str__(self) -> str:
        """Name the field, the value and what is allowed."""
        return f"{self.field} is {self._shown}; allowed: {self.allowed}"


class Withheld:
    """Stands in an error for a value that may be, or hold, a secret.

    Args:
        value: The value; only its type is shown.
    """

    def __init__(self, value: object) -> None:
        self._type = type(value).__name__

    def __repr__(self) -> str:
        """Name the type."""
        return f"a {self._type} that is not shown"


def shown(value: object) -> str:
    """Describe a value for a log: not too long, and of a URL no more than the scheme."""
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a number can be too long, and repr is anybody's code
        text = repr(Withheld(value))
    before, url, _ = text.partition("://")  # no pattern: a client may have chosen the value
    if url:
        text = f"{before}://***"
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


class Rejected(GuardError):  # noqa: N818 - it says what happened, and is no mistake
    """A guard refused.

    Args:
        message: What was refused, and why.
        retry_after: Seconds after which another attempt may pass; None when waiting cannot help,
            or when nobody knows.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExceeded(Rejected):
    """The key has used up a quota.

    Args:
        message: What was refused, and why.
        retry_after: Seconds after which another attempt may pass; None when none ever can.
        rules: The names of the rules that refused.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, rules: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, retry_after)
        self.rules = rules


class ConcurrencyExceeded(Rejected):
    """No permit was free, and none came in time.

    Args:
        message: What was refused, and why.
        retry_after: Seconds after which another attempt may pass.
        reason: `"queue_full"` when nobody more may wait, `"timeout"` when the wait was in vain.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, reason: str = "timeout"
    ) -> None:
        super().__init__(message, retry_after)
        self.reason = reason


class CircuitOpen(Rejected):
    """A breaker refused the call, because the downstream it guards has been failing.

    Args:
        message: What was refused, and why.
        retry_after: Seconds until the breaker admits a trial; None where nobody knows.
        breaker: The breaker's name.
        state: The state it was in, such as `"open"`.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        breaker: str = "",
        state: str = "open",
    ) -> None:
        super().__init__(message, retry_after)
        self.breaker = breaker
        self.state = state


class DownstreamBusy(Rejected):
    """A downstream was not called, because too many others call it.

    Args:
        message: What was refused, and why.
        retry_after: Seconds after which another attempt may pass.
        downstream: The downstream's name.
        reason: `"queue_full"` when nobody more may wait, `"timeout"` when the wait was in vain.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        downstream: str = "",
        reason: str = "timeout",
    ) -> None:
        super().__init__(message, retry_after)
        self.downstream = downstream
        self.reason = reason


class CallTimeout(GuardError, TimeoutError):  # noqa: N818 - it says what happened
    """A call to a downstream took longer than its breaker gives it."""


class FailedResult(GuardError):  # noqa: N818 - it says what happened
    """A call returned what `classify` calls a failure, and something else stands in for it."""


class ReconnectStopped(GuardError):  # noqa: N818 - it says what happened
    """Nobody dials a lost connection again; the `__cause__` is the error of the last dial.

    Args:
        message: Why not.
        code: The status of the handshake, or the close code, that it ended with; default None.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class StoreUnavailable(GuardError):  # noqa: N818 - it says what happened, and is no mistake
    """A store of counters gave no answer, or not in time; its `__cause__` says why."""
