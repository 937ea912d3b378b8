"""Questions to Redis that are asked again and again, and always alike but for their keys."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeAlias

from asgi_guard._clock import monotonic
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.stores.leases import Lease
from asgi_guard.rate_limit.stores.redis_counter import MICROSECOND
from asgi_guard.rate_limit.stores.redis_line import Line
from asgi_guard.rate_limit.stores.redis_script import PLAIN, question
from asgi_guard.rate_limit.stores.store import Charge, Counter

_MOST_NAMED = 4096  # names of keys that are kept as they travel: who asks often asks again


_Place: TypeAlias = tuple[asyncio.AbstractEventLoop | None, Line | None, dict[str, Lease]]
"""An event loop, its line, and what a counter has on lease there."""


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

    def hit(self, key: str, cost: int, now: float, within: float) -> None:
        """There is nothing on lease."""


class LendingQuestion:
    """A question with leases: often there is no need to ask it.

    Args:
        line: Returns the line of the running event loop.
        charges: The counters to charge, each with the cost.
    """

    def __init__(
        self,
        line: Callable[[asyncio.AbstractEventLoop], Line],
        charges: Sequence[tuple[Counter, int]],
    ) -> None:
        self._line = line
        self._charges = charges
        # Of the loop that asked last: one attribute, for loops in several threads.
        self._place: _Place = (None, None, {})
        self.lends: bool = all(counter.lease for counter, _ in charges)  # else one has to be asked

    async def ask(
        self, keys: tuple[str, ...], within: float, loop: asyncio.AbstractEventLoop
    ) -> Sequence[int]:
        """Charge all counters, or none of them if one refuses; see `Prepared.ask`."""
        numbers: list[int] = []
        line, charges = self._line(loop), self._charged(keys)
        if self._place[1] is not line:
            self._place = (loop, line, line.leases.of(self._charges[0][0].key))
        for decided in await line.decide_with_leases(charges, within):
            wait = decided.retry_after
            retry = -1 if wait is None else round(wait / MICROSECOND)
            numbers += (decided.remaining, round(decided.reset / MICROSECOND), retry)
        return numbers

    def use(
        self, keys: tuple[str, ...], within: float, loop: asyncio.AbstractEventLoop
    ) -> Sequence[int] | None:
        """Charge what is on lease, where that is enough for all counters; see `Prepared.use`."""
        now = monotonic()
        line = self._line(loop)
        use, pairs = line.leases.use, zip(self._charges, keys, strict=True)
        used = [use(counter.key, key, cost, now) for (counter, cost), key in pairs]
        numbers: list[int] = []
        for lease, key in zip(used, keys, strict=True):
            if lease is None:
                line.put_back(self._charged(keys), used)
                return None
            if lease.units <= lease.low:
                line.refill(lease, key, within)
            reset = int((lease.reset_at - now) / MICROSECOND)
            numbers += (lease.left + lease.units, max(0, reset), 0)
        return numbers

    def hit(self, key: str, cost: int, now: float, within: float) -> Decided | None:
        """Charge what is on lease, where there is one counter; see `Prepared.hit`."""
        loop, line, leases = self._place
        lease = leases.get(key)
        if (
            lease is None
            or line is None
            or loop is not asyncio.get_running_loop()
            or not lease.use(cost, now)
        ):
            return None
        if lease.units <= lease.low:
            line.refill(lease, key, within)
        return True, lease.left + lease.units, max(0.0, lease.reset_at - now), 0.0

    def _charged(self, keys: tuple[str, ...]) -> list[Charge]:
        pairs = zip(self._charges, keys, strict=True)
        return [(counter, key, cost) for (counter, cost), key in pairs]
