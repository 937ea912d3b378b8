"""Attempts: calls in two steps, for code that has no block to put round them."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from asgi_guard._checks import check_seconds
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker


class Attempt:
    """One call that a breaker has admitted, until somebody says how it ended.

    The first word counts; what comes later changes nothing. An attempt that nobody settles changes
    nothing either: a trial is taken back after its lease. It is a `with` and `async with` block as
    well, which settles it by the error that ends the block. `CircuitBreaker.attempt()` makes it.

    Args:
        breaker: The breaker that has admitted it.
        stamp: What it was admitted with.
    """

    __slots__ = ("_breaker", "_stamps")

    def __init__(self, breaker: "CircuitBreaker", stamp: Stamp) -> None:
        self._breaker = breaker
        self._stamps = [stamp]  # none, once it is settled: of two threads, one can take it

    @property
    def is_settled(self) -> bool:
        """Whether somebody has said how it ended."""
        return not self._stamps

    def answered(self) -> None:
        """Say that the downstream has begun to answer: how long the rest takes is not slow."""
        for stamp in self._stamps:
            self._breaker.core.answered(stamp)

    def may_take(self, seconds: float) -> None:
        """Say how long the call may take: a trial is not taken back before.

        Args:
            seconds: From now, from 0 to a century; less than what is left of `trial_lease` changes
                nothing.

        Raises:
            ConfigurationError: It is no such time; nothing is changed.
        """
        check_seconds("Attempt.may_take.seconds", seconds, zero=True)
        for stamp in self._stamps:
            self._breaker.core.extend(stamp, seconds)

    def success(self) -> None:
        """Say that the call succeeded."""
        for stamp in self._take():
            self._breaker.core.succeed(stamp)

    def failure(self, error: BaseException | None = None) -> None:
        """Say that the call failed, and with which error, for the log."""
        self._settle(Outcome.FAILURE, error)

    def ignore(self) -> None:
        """Say that the call tells nothing about the downstream."""
        self._settle(Outcome.IGNORED)

    def end(self, error: BaseException | None, result: object = None) -> None:
        """Say how the call ended, and let the breaker judge, as it does with functions."""
        for stamp in self._take():
            self._breaker.end(stamp, error, result)

    def throttle(self, seconds: float) -> None:
        """Let the breaker open for so long, since the downstream has asked for it.

        It says nothing of how the call ended: a server that throttles may be in good health.

        Args:
            seconds: From 0 up, as of `Retry-After`; no more than `retry_after_max` are believed.
        """
        self._breaker.throttle(seconds)

    def __enter__(self) -> Self:
        """Begin the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle by the error that ends the block, if that has not been done."""
        self.end(error)

    async def __aenter__(self) -> Self:
        """Begin the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle by the error that ends the block, if that has not been done."""
        self.end(error)

    def _settle(self, outcome: Outcome, error: BaseException | None = None) -> None:
        for stamp in self._take():
            self._breaker.settle(stamp, outcome, error)

    def _take(self) -> list[Stamp]:
        try:
            return [self._stamps.pop()]
        except IndexError:
            return []
