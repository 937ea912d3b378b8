"""Slots: one call to a downstream, from its place in the line to its outcome."""

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING, Self

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.outcome import Classifier
from asgi_guard.breaker.states import Outcome
from asgi_guard.downstream.counts import Counts
from asgi_guard.downstream.line import Line
from asgi_guard.downstream.lines import Lines
from asgi_guard.errors import CallTimeout, CircuitOpen, DownstreamBusy

if TYPE_CHECKING:
    from asgi_guard.breaker.attempt import Attempt

_USUAL = Classifier((Exception,), ())


class Slots:
    """What all slots of one downstream share.

    Args:
        name: The downstream's name.
        lines: Its lines.
        breaker: Its breaker, if it has one.
        counts: Its counts.
    """

    __slots__ = ("breaker", "counts", "lines", "name")

    def __init__(
        self, name: str, lines: Lines, breaker: CircuitBreaker | None, counts: Counts
    ) -> None:
        self.name: str = name
        self.lines: Lines = lines
        self.breaker: CircuitBreaker | None = breaker
        self.counts: Counts = counts

    def judge(self, error: BaseException | None, result: object = None) -> Outcome:
        """Return the outcome of a call that ended so: as the breaker sees it, if there is one."""
        if self.breaker is None:
            return _USUAL.outcome(error, result)
        return self.breaker.judge(error, result)

    def is_own(self, error: BaseException) -> bool:
        """Tell whether this downstream refused with this error, and not one further down."""
        if isinstance(error, CircuitOpen):
            return self.breaker is not None and error.breaker == self.breaker.name
        return isinstance(error, DownstreamBusy) and error.downstream == self.name


class Slot:
    """An `async with` block that is one call to a downstream; `Downstream.slot()` makes it.

    It begins when there is a slot, when it is time for a start and when the breaker admits it, and
    raises `DownstreamBusy` or `CircuitOpen` where that does not come about.

    Args:
        slots: What it shares with others.
        priority: How much it matters.
        ends: When its time is over, on the loop's clock; None: never.

    Attributes:
        attempt: The breaker's permit, to say how the call ended where no error does, or that the
            downstream asks for peace; None outside of the block, and without a breaker.
        result: What the call returned, for the breaker to judge.
        outcome: How the call ended; None before it has.
    """

    __slots__ = (
        "_ends",
        "_inside",
        "_is_taken",
        "_limit",
        "_priority",
        "_slots",
        "attempt",
        "outcome",
        "result",
    )

    def __init__(self, slots: Slots, priority: int, ends: float | None) -> None:
        self._slots = slots
        self._priority = priority
        self._ends = ends
        self._inside: Line | None = None
        self._is_taken = False
        self._limit: asyncio.Timeout | None = None
        self.attempt: Attempt | None = None
        self.result: object = None
        self.outcome: Outcome | None = None

    async def __aenter__(self) -> Self:
        """Wait for what the call needs, and take it.

        Raises:
            CircuitOpen: The breaker is open, or has opened meanwhile.
            DownstreamBusy: Too many wait, or the wait was in vain.
        """
        if self._is_taken:
            raise RuntimeError("this slot is taken already: every block needs one of its own")
        self._is_taken = True
        counts = self._slots.counts
        try:
            await self._enter()
        except BaseException as error:
            self._is_taken = False
            if isinstance(error, DownstreamBusy):
                counts.add(error.reason)
            elif isinstance(error, CircuitOpen):
                counts.add("circuit_open")
            raise
        counts.add("starts")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the outcome, and let in who is next.

        Raises:
            CallTimeout: The time was over during the call.
        """
        limit, self._limit = self._limit, None
        late: CallTimeout | None = None
        is_ended = False
        try:
            if limit is not None:
                try:
                    await limit.__aexit__(kind, error, traceback)
                except TimeoutError:
                    is_ended = True
                if is_ended or (error is None and limit.expired()):  # cancelled, and gone on
                    late = CallTimeout(f"{self._slots.name} gave no answer in time")
            self._settle(late or error)
        finally:
            self._is_taken = False
            line, self._inside = self._inside, None
            if line is not None:
                line.leave()
        if is_ended and late is not None:
            raise late from error

    async def _enter(self) -> None:
        line, breaker = self._slots.lines.line(), self._slots.breaker
        self._check_time(line)
        refused = None if breaker is None else breaker.core.refused_now()
        if refused is not None:
            raise refused
        start = await line.enter(self._priority, self._ends)
        try:
            self._check_time(line)  # a loop that is late can let in after the end
            await self._begin(breaker)
        except BaseException:
            if self.attempt is not None:
                self.attempt.ignore()
            line.give_back(start)
            raise
        self._inside = line

    async def _begin(self, breaker: CircuitBreaker | None) -> None:
        """Take the breaker's permit, last of all: waits are none of its business."""
        ends = self._ends
        if breaker is not None:
            self.attempt = breaker.attempt()
            if breaker.call_timeout is not None:
                own = asyncio.get_running_loop().time() + breaker.call_timeout
                ends = own if ends is None else min(ends, own)
        if ends is not None:
            if self.attempt is not None:  # a trial may take as long as any call
                self.attempt.may_take(max(0.0, ends - asyncio.get_running_loop().time()))
            self._limit = asyncio.timeout_at(ends)
            await self._limit.__aenter__()

    def _check_time(self, line: Line) -> None:
        if self._ends is not None and asyncio.get_running_loop().time() >= self._ends:
            raise line.refuse_late()

    def _settle(self, error: BaseException | None) -> None:
        attempt, self.attempt = self.attempt, None
        outcome = Outcome.IGNORED  # of a call that cannot be judged
        try:
            outcome = self._slots.judge(error, self.result)
        finally:
            self.outcome = outcome
            if attempt is not None:
                if outcome is Outcome.FAILURE:
                    attempt.failure(error)
                elif outcome is Outcome.SUCCESS:
                    attempt.success()
                else:
                    attempt.ignore()
        if error is not None and self._slots.breaker is not None:
            self._slots.breaker.heed(error)
