"""Questions to Redis that are asked again and again, and always alike but for their keys."""

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from asgi_guard._clock import monotonic
from asgi_guard.rate_limit.redis_line import Line
from asgi_guard.rate_limit.redis_script import MICROSECOND, PLAIN, question
from asgi_guard.rate_limit.store import Counter


class PlainQuestion:
    """A question without leases: it is ready but for its keys.

    Args:
        line: Returns the line of the running event loop.
        charges: The counters to charge, each with the cost.
    """

    lends: ClassVar[bool] = False

    def __init__(self, line: Callable[[], Line], charges: Sequence[tuple[Counter, int]]) -> None:
        self._line = line
        self._asked = question([(counter.numbers, cost, 0) for counter, cost in charges], PLAIN)
        self._beginnings = [counter.key_bytes for counter, _ in charges]
        self._size = PLAIN * len(charges)

    def ask(self, keys: Sequence[str], within: float) -> Awaitable[Sequence[int]]:
        """Charge all counters, or none of them if one refuses; see `Prepared.ask`."""
        names = []
        last = name = None
        for key, beginning in zip(keys, self._beginnings, strict=True):
            if key is not last:
                last, name = key, key.encode("utf-8", "surrogatepass")
            names.append(beginning + name)
        return self._line().ask(self._asked, names, self._size, within)

    def use(self, keys: Sequence[str]) -> None:
        """There is nothing on lease."""


class LendingQuestion:
    """A question with leases: often there is no need to ask it.

    Args:
        line: Returns the line of the running event loop.
        charges: The counters to charge, each with the cost.
    """

    lends: ClassVar[bool] = True

    def __init__(self, line: Callable[[], Line], charges: Sequence[tuple[Counter, int]]) -> None:
        self._line = line
        self._charges = charges

    async def ask(self, keys: Sequence[str], within: float) -> Sequence[int]:
        """Charge all counters, or none of them if one refuses; see `Prepared.ask`."""
        pairs = zip(self._charges, keys, strict=True)
        charges = [(counter, key, cost) for (counter, cost), key in pairs]
        numbers: list[int] = []
        for decided in await self._line().decide_with_leases(charges, within):
            wait = decided.retry_after
            retry = -1 if wait is None else round(wait / MICROSECOND)
            numbers += (decided.remaining, round(decided.reset / MICROSECOND), retry)
        return numbers

    def use(self, keys: Sequence[str]) -> Sequence[int] | None:
        """Charge what is on lease, where one lease is all that is needed; see `Prepared.use`."""
        if len(keys) > 1:
            return None
        now = monotonic()
        counter, cost = self._charges[0]
        lease = self._line().leases.use(counter.key, keys[0], cost, now)
        if lease is None:
            return None
        return lease.left + lease.units, max(0, int((lease.reset_at - now) / MICROSECOND)), 0
