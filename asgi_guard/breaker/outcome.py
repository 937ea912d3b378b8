"""From the error that ended a call to its outcome."""

import asyncio
from typing import cast

from asgi_guard.breaker.machine import Outcome
from asgi_guard.errors import ConfigurationError, Rejected

ErrorTypes = tuple[type[BaseException], ...]

_ENDED_FROM_OUTSIDE = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)


class Classifier:
    """Tells failures from errors that say nothing about the downstream.

    Args:
        fail_on: Error types that are failures.
        ignore: Error types that are not, though `fail_on` covers them.
    """

    __slots__ = ("_fail_on", "_ignored")

    def __init__(self, fail_on: object, ignore: object) -> None:
        self._fail_on = _error_types("CircuitBreaker.fail_on", fail_on)
        ignored = _error_types("CircuitBreaker.ignore", ignore)
        self._ignored = (*_ENDED_FROM_OUTSIDE, Rejected, *ignored)
        if all(issubclass(each, ignored) for each in self._fail_on):
            raise ConfigurationError(
                "CircuitBreaker.fail_on", fail_on, "at least one error type that is not ignored"
            )

    def outcome(self, error: BaseException | None) -> Outcome:
        """Return the outcome of a call that ended with this error, or with none.

        A group is a failure when it holds one.
        """
        if error is None:
            return Outcome.SUCCESS
        if isinstance(error, self._ignored):
            return Outcome.IGNORED
        if isinstance(error, BaseExceptionGroup):
            outcomes = {self.outcome(part) for part in error.exceptions}
            return Outcome.FAILURE if Outcome.FAILURE in outcomes else Outcome.IGNORED
        return Outcome.FAILURE if isinstance(error, self._fail_on) else Outcome.IGNORED


def _error_types(field: str, types: object) -> ErrorTypes:
    listed = types if isinstance(types, tuple) else (types,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in listed):
        raise ConfigurationError(field, types, "an error type, or a tuple of error types")
    return cast("ErrorTypes", listed)
