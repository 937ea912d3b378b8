"""From how a call ended to its outcome."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from asgi_guard._checks import check_function
from asgi_guard.breaker.awaiting import NothingToAwaitError
from asgi_guard.breaker.states import Outcome
from asgi_guard.breaker.statuses import outcome_of_status, status_of
from asgi_guard.callback import name_of, wrong_answer
from asgi_guard.errors import ConfigurationError, Rejected
from asgi_guard.escaped import made_of

ErrorTypes: TypeAlias = tuple[type[BaseException], ...]

Classify: TypeAlias = Callable[[BaseException | None, Any], Outcome | None]
"""A function of the error that ended a call, or None, and of what it returned; None: as usual."""

CLASSIFIES = "a plain function of an error (or None) and a result to an Outcome, or to None"
_log = logging.getLogger("asgi_guard.breaker")
_ENDED_FROM_OUTSIDE = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
_OURS = (Rejected, NothingToAwaitError)


class Classifier:
    """Tells failures from what says nothing about the downstream.

    Args:
        fail_on: Error types that are failures.
        ignore: Error types that are not, though `fail_on` covers them.
        classify: What is asked first; default None: nobody.

    Attributes:
        judges_results: Whether what a call returns can make it a failure.
    """

    __slots__ = ("_classify", "_fail_on", "_has_failed", "_ignored", "judges_results")

    def __init__(self, fail_on: object, ignore: object, classify: Classify | None = None) -> None:
        self._fail_on = _error_types("CircuitBreaker.fail_on", fail_on)
        ignored = _error_types("CircuitBreaker.ignore", ignore)
        self._ignored = (*_ENDED_FROM_OUTSIDE, *_OURS, *ignored)
        if all(issubclass(each, ignored) for each in self._fail_on):
            raise ConfigurationError(
                "CircuitBreaker.fail_on", fail_on, "at least one error type that is not ignored"
            )
        if classify is not None:
            check_function("CircuitBreaker.classify", classify, CLASSIFIES, takes=2)
        self._classify = classify
        self._has_failed = False  # which is logged once
        self.judges_results: bool = classify is not None

    def outcome(self, error: BaseException | None, result: object = None) -> Outcome:
        """Return the outcome of a call that ended with this error, or else with this result.

        Cancellation, what asgi_guard itself refuses, and that there was nothing to await, are
        ignored whatever anybody says. An error whose `__cause__` is such a refusal is one in other
        words. An error that carries the status of an HTTP response is what the status is. A group
        is a failure when it holds one.

        What `classify` raises about an error is logged, and the error is judged as usual, or it
        would hide what the call ended with; about a result, it is raised.
        """
        if isinstance(error, (*_ENDED_FROM_OUTSIDE, *_OURS)):
            return Outcome.IGNORED
        said = None if self._classify is None else self._ask(self._classify, error, result)
        if said is not None:
            return said
        return Outcome.SUCCESS if error is None else self._of_error(error)

    def _ask(
        self, classify: Classify, error: BaseException | None, result: object
    ) -> Outcome | None:
        try:
            return _checked(classify, classify(error, result))
        except Exception:
            if error is None:
                raise
            if not self._has_failed:
                self._has_failed = True
                _log.exception(
                    "the classify function %s failed: errors count as usual", name_of(classify)
                )
            return None

    def _of_error(self, error: BaseException) -> Outcome:
        if isinstance(error, self._ignored):
            return Outcome.IGNORED
        if isinstance(error, BaseExceptionGroup):
            outcomes = {self.outcome(part) for part in error.exceptions}
            return Outcome.FAILURE if Outcome.FAILURE in outcomes else Outcome.IGNORED
        if not isinstance(error, self._fail_on) or made_of(error, Rejected):
            return Outcome.IGNORED
        status = status_of(error)
        return Outcome.FAILURE if status is None else outcome_of_status(status)


def _checked(classify: Classify, said: object) -> Outcome | None:
    if said is None or isinstance(said, Outcome):
        return said
    asked = f"the classify function {name_of(classify)}"
    raise wrong_answer(asked, said, "an Outcome, or None")


def _error_types(field: str, types: object) -> ErrorTypes:
    listed = types if isinstance(types, tuple) else (types,)
    if not all(isinstance(each, type) and issubclass(each, BaseException) for each in listed):
        raise ConfigurationError(field, types, "an error type, or a tuple of error types")
    return cast("ErrorTypes", listed)
