"""Questions to Redis that are asked again and again, and always alike but for their keys."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from asgi_guard._clock import monotonic
from asgi_guard.rate_limit.stores.redis_counter import MICROSECOND
from asgi_guard.rate_limit.stores.redis_line import Line
from asgi_guard.rate_limit.stores.redis_script import PLAIN, question
from asgi_guard.rate_limit.stores.store import Counter

_MOST_NAMED = 4096  # names of keys that are kept as they travel: who asks often asks again


class PlainQuestion:
    """A question without leases: it is ready but for its keys.

    Args:
        line: Returns the line of the running event loop.
        charges: The counters to charge, each with the cost.
    """

    lends: ClassVar[bool] = False

    def __init__(
        self,
        line: Callable[[asyncio.AbstractEventLoop], Line],
        charges: Sequence[tuple[Counter, int]],
    ) -> None:
        self._line = line
        self._asked = question([(counter.numbers, cost, 0) for counter, cost in charges], PLAIN)
        self._names = [counter.names for counter, _ in charges]
        self._named: dict[tuple[str, ...], tuple[bytes, ...]] = {}
        self._size = PLAIN * len(charges)

    def ask(
        self, keys: tuple[str, ...], within: float, loop: asyncio.AbstractEventLoop
    ) -> Awaitable[Sequence[int]]:
        """Charge all counters, or none of them if one refuses; see `Prepared.ask`."""
        names = self._named.get(keys)
        if names is None:
            if len(self._named) >= _MOST_NAMED:
                self._named.clear()
            names = self._named[keys] = tuple(
                name for of, key in zip(self._names, keys, strict=True) for name in of(key)
            )
        return self._line(loop).ask(self._asked, names, self._size, within)

    def use(self, keys: tuple[str, ...], within: float, loop: asyncio.AbstractEventLoop) -> None:
        """There is nothing on lease."""


class LendingQuestion:
    """A question with leases: often there is no need to ask it.

    Args:
        line: Returns the line of the running event loop.
        charges: The counters to charge, each with the cost.
    """

    lends: ClassVar[bool] = True

    def __init__(
        self,
        line: Callable[[asyncio.AbstractEventLoop], Line],
        charges: Sequence[tuple[Counter, int]],
    ) -> None:
        self._line = line
        self._charges = charges

    async def ask(
        self, keys: tuple[str, ...], within: float, loop: asyncio.AbstractEventLoop
    ) -> Sequence[int]:
        """Charge all counters, or none of them if one refuses; see `Prepared.ask`."""
        pairs = zip(self._charges, keys, strict=True)
        charges = [(counter, key, cost) for (counter, cost), key in pairs]
        numbers: list[int] = []
        for decided in await self._line(loop).decide_with_leases(charges, within):
            wait = decided.retry_after
            retry = -1 if wait is None else round(wait / MICROSECOND)
            numbers += (decided.remaining, round(decided.reset / MICROSECOND), retry)
        return numbers

    def use(
        self, keys: tuple[str, ...], within: float, loop: asyncio.AbstractEventLoop
    ) -> Sequence[int] | None:
        """Charge what is on lease, where one lease is all that is needed; see `Prepared.use`."""
        if len(keys) > 1:
            return None
        now = monotonic()
        counter, cost = self._charges[0]
        line = self._line(loop)
        lease = line.leases.use(counter.key, keys[0], cost, now)
        if lease is None:
            return None
        if lease.units <= lease.low:
            line.refill(lease, keys[0], within, loop)
        return lease.left + lease.units, max(0, int((lease.reset_at - now) / MICROSECOND)), 0
