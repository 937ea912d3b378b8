"""Running a check: once for all who ask at the same time, within its time, and not too often."""

import asyncio
import inspect
from dataclasses import dataclass

from asgi_guard._clock import Clock, monotonic
from asgi_guard.health.check import Check, Status, question
from asgi_guard.health.thread import in_thread

_BAD_RESULT_TTL = 1.0  # seconds
_GRACE = 0.1  # seconds for a cancelled check to end by itself


@dataclass(frozen=True, slots=True)
class Result:
    """What a check said.

    Attributes:
        status: How the dependency is doing.
        seconds: How long the check took.
        output: The class of the error, where there was one: its text may hold secrets.
        at: When it was said, on the runner's clock.
    """

    status: Status
    seconds: float
    output: str | None
    at: float


class Runner:
    """One check and its last result.

    Args:
        check: The check.
        clock: Returns seconds; default `time.monotonic`.

    Attributes:
        check: The check.
    """

    def __init__(self, check: Check, clock: Clock = monotonic) -> None:
        self.check: Check = check
        self._ask = question(check.check)
        self._clock = clock
        self._last: Result | None = None
        self._running: asyncio.Task[Result] | None = None
        self._began = 0.0

    async def result(self) -> Result:
        """Return the last result while it is fresh, else ask."""
        last = self._last
        if last is not None and self._clock() < last.at + self._ttl(last):
            return last
        task = self._running
        if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
            task = self._running = asyncio.create_task(self._run())
            self._began = self._clock()
        # A check that outlives its time goes on alone: it is neither waited for nor asked again.
        rest = self._began + self.check.timeout + _GRACE - self._clock()
        done, _ = await asyncio.wait({task}, timeout=max(0.0, rest))
        if done:
            self._last = task.result()
        else:
            self._last = self._failed(self._began, "TimeoutError")
        return self._last

    async def _run(self) -> Result:
        began = self._clock()
        try:
            answer = await self._answer()
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, KeyboardInterrupt) or (task is not None and task.cancelling()):
                raise  # it is meant for the process or for this task, and not the check's answer
            return self._failed(began, type(error).__name__)
        if answer is False:
            return self._failed(began, "False")
        now = self._clock()
        if now - began > self.check.timeout:  # it could not be stopped, and came too late
            return self._failed(began, "TimeoutError")
        return Result(Status.PASS, now - began, None, now)

    async def _answer(self) -> object:
        call = getattr(self._ask, "__call__", None)  # noqa: B004 - an object's own async __call__
        if inspect.iscoroutinefunction(self._ask) or inspect.iscoroutinefunction(call):
            answer = self._ask()
        else:
            answer = await in_thread(self._ask)  # it cannot be stopped, so it gets no timeout here
        if not inspect.isawaitable(answer):
            return answer
        async with asyncio.timeout(self.check.timeout):
            return await answer

    def _failed(self, began: float, output: str) -> Result:
        now = self._clock()
        status = Status.FAIL if self.check.critical else Status.WARN
        return Result(status, now - began, output, now)

    def _ttl(self, result: Result) -> float:
        if result.status is Status.PASS:
            return self.check.ttl
        return min(self.check.ttl, _BAD_RESULT_TTL)
