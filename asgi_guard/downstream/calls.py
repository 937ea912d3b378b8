"""Calls: attempts in slots, again where a retry may help, and what stands in for a result."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, NamedTuple, TypeAlias

from asgi_guard.breaker.awaiting import to_await
from asgi_guard.breaker.fallback import Fallback, FallbackOn
from asgi_guard.breaker.states import Outcome
from asgi_guard.downstream.answer import Answer, LastResults
from asgi_guard.downstream.retries import Retries
from asgi_guard.downstream.slot import Slot, Slots
from asgi_guard.errors import FailedResult

_Ended: TypeAlias = tuple[Outcome | None, Any]


class Call(NamedTuple):
    """One call, which may take several attempts.

    Attributes:
        function: What is called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        priority: How much it matters.
        ends: When its time is over, on the loop's clock; None: never.
    """

    function: Callable[..., Awaitable[Any]]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    priority: int
    ends: float | None


class Calls:
    """What makes calls, and answers for those that come to nothing.

    Args:
        slots: Where they take place.
        retries: When they are made again.
        fallback: What stands in for results, if anything does.
        on: When something does: `"rejected"`, or on any `"failure"` as well.
        last: The last good results; None where none are kept.
    """

    __slots__ = ("_fallback", "_last", "_on", "_retries", "_slots")

    def __init__(
        self,
        slots: Slots,
        retries: Retries,
        fallback: Fallback | None,
        on: FallbackOn,
        last: LastResults | None,
    ) -> None:
        self._slots = slots
        self._retries = retries
        self._fallback = fallback
        self._on = on
        self._last = last

    async def result(self, call: Call) -> Any:
        """Return the result of a call, or what stands in for it."""
        try:
            outcome, result = await self._made(call)
        except Exception as error:
            if self._fallback is None or not self._stands_in_for(error):
                raise
            return await self._fallback.serve_async(call.args, call.kwargs)
        if self._fallback is None or not self._has_failed(outcome):
            return result
        return await self._fallback.serve_async(call.args, call.kwargs)

    async def answer(self, key: Hashable, call: Call) -> Answer[Any]:
        """Return the same with its age; the last good result goes before the fallback."""
        try:
            outcome, result = await self._made(call)
        except Exception as error:
            if not self._stands_in_for(error):
                raise
            stand_in = await self._stand_in(key, call, error)
            if stand_in is None:
                raise
            return stand_in
        if self._has_failed(outcome):
            failed = FailedResult(f"{self._slots.name} returned what is a failure")
            return await self._stand_in(key, call, failed) or Answer(result)
        if self._last is not None and outcome is Outcome.SUCCESS:
            self._last.keep(key, result)
        return Answer(result)

    async def _stand_in(self, key: Hashable, call: Call, error: Exception) -> Answer[Any] | None:
        """Return what there is in place of a result; None where there is nothing."""
        kept = None if self._last is None else self._last.find(key, error)
        if kept is not None:
            self._slots.counts.add("stale")
            return kept
        if self._fallback is None:
            return None
        return Answer(await self._fallback.serve_async(call.args, call.kwargs), None, error)

    async def _made(self, call: Call) -> _Ended:
        """Make the call, and again; what comes of it is the last attempt that was begun."""
        retries = self._retries
        if not retries.most:
            return await self._attempt(call)
        retries.budget.pay_in()
        failed: Exception | None = None
        ended: _Ended | None = None
        try:
            for made in range(retries.most + 1):
                try:
                    ended = await self._attempt(call)
                except Exception as error:
                    if made and self._slots.is_own(error):
                        break
                    if self._slots.judge(error) is not Outcome.FAILURE:
                        raise
                    failed, ended = error, None
                else:
                    failed = None
                    if ended[0] is not Outcome.FAILURE:
                        break
                if made == retries.most or not await self._may_retry(call, made):
                    break
            if failed is not None:
                raise failed
            return ended or (None, None)
        finally:
            failed = None  # or it would hold this frame, and the frame it

    async def _attempt(self, call: Call) -> _Ended:
        async with Slot(self._slots, call.priority, call.ends) as slot:
            made = call.function(*call.args, **call.kwargs)
            slot.result = await to_await(call.function, made)
        return slot.outcome, slot.result

    async def _may_retry(self, call: Call, made: int) -> bool:
        """Wait for the next retry; return whether it may be made."""
        breaker, counts = self._slots.breaker, self._slots.counts
        if breaker is not None and breaker.retry_after != 0:
            return False
        delay = self._retries.delay(made)
        if call.ends is not None and asyncio.get_running_loop().time() + delay >= call.ends:
            return False
        if not self._retries.budget.take_out():
            counts.add("retries_denied")
            return False
        counts.add("retries")
        await asyncio.sleep(delay)
        return True

    def _stands_in_for(self, error: Exception) -> bool:
        """Tell whether something else stands in for a call that ended with this error."""
        if self._slots.is_own(error):
            return True
        return self._on == "failure" and self._slots.judge(error) is Outcome.FAILURE

    def _has_failed(self, outcome: Outcome | None) -> bool:
        """Tell whether something else stands in for a result, since it is a failure."""
        return self._on == "failure" and outcome is Outcome.FAILURE
