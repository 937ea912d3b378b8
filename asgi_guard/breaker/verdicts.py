"""Verdicts: how a call through a breaker ended, and what follows from it."""

import time
from typing import TypeVar

from asgi_guard.breaker.controls import Controls
from asgi_guard.breaker.fallback import Fallback
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.outcome import Classifier
from asgi_guard.breaker.peace import peace_asked
from asgi_guard.breaker.states import Outcome
from asgi_guard.errors import CircuitOpen, FailedResult

R = TypeVar("R")


class Verdicts(Controls):
    """What judges and settles the calls of a breaker.

    Attributes:
        name: The breaker's name.
        fallback: What stands in for results; None: nothing does.
        judges_results: Whether what a call returns can make it a failure.
    """

    name: str
    fallback: Fallback | None
    judges_results: bool
    _classifier: Classifier

    def judge(self, error: BaseException | None, result: object = None) -> Outcome:
        """Return the outcome of a call that ended so."""
        return self._classifier.outcome(error, result)

    def settle(self, stamp: Stamp, outcome: Outcome, error: BaseException | None = None) -> None:
        """Settle a call that was admitted with this stamp."""
        self.core.settle(stamp, outcome, error)

    def end(self, stamp: Stamp, error: BaseException | None, result: object = None) -> Outcome:
        """Judge and settle a call; one that cannot be judged says nothing."""
        if error is None and not self.judges_results:
            self.core.succeed(stamp)
            return Outcome.SUCCESS
        outcome = Outcome.IGNORED
        try:
            outcome = self._classifier.outcome(error, result)
        finally:
            self.core.settle(stamp, outcome, error)
        if error is not None:
            self.heed(error)
        return outcome

    def heed(self, error: BaseException) -> None:
        """Open for as long as the server asks whose response an error carries, if it does."""
        seconds = peace_asked(error, time.time())
        if seconds:
            self.throttle(seconds)

    def returned(self, stamp: Stamp, result: R) -> R:
        """Judge and settle a call that has returned, and pass its result on.

        Raises:
            FailedResult: The fallback stands in for it.
        """
        if self.end(stamp, None, result) is Outcome.FAILURE and self.serves_failures:
            raise FailedResult(f"{self.name} takes what was returned for a failure")
        return result

    @property
    def serves_failures(self) -> bool:
        """Whether the fallback stands in for failures as well."""
        return self.fallback is not None and self.fallback.on == "failure"

    def falls_back_on(self, error: Exception) -> bool:
        """Tell whether the fallback stands in for a call that ended with this error."""
        if isinstance(error, CircuitOpen):
            return error.breaker == self.name
        if isinstance(error, FailedResult):
            return True
        return self.serves_failures and self.judge(error) is Outcome.FAILURE
