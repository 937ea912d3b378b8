"""Counting in a storage of `limits`: what each algorithm asks of one.

Storages are asked themselves, not through the strategies of `limits`: so the count of a quota stays
out of the key, and a hit and what it says take two trips and not three.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Protocol, TypeAlias, cast
from urllib.parse import quote

from limits.aio.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from asgi_guard.rate_limit.algorithms import MARGIN, Algorithm, fixed_window, sliding_window
from asgi_guard.rate_limit.decision import Decided

_LONGEST_KEY = 200  # bytes; memcached takes 250, and limits adds to it


class Seen(Protocol):
    """What a storage said of one key."""

    def decide(self, cost: int) -> Decided:
        """Return what a hit of this cost would be told."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """The counter of one rule.

    Attributes:
        prefix: What its keys begin with.
        name: What follows: rule, algorithm and period.
        count: Units per period.
        period: The period in seconds.
        step: Seconds by which the storage may tell the end of a window too early.
    """

    prefix: str
    name: str
    count: int
    period: int
    step: float

    can_take_back = True

    def key(self, key: str) -> str:
        """Return the name of a key in the storage: printable ASCII, at most 200 bytes."""
        whole = f"{self.name}:{escaped(key)}"
        if len(self.prefix) + 1 + len(whole) > _LONGEST_KEY:
            whole = f"#{sha256(whole.encode()).hexdigest()}"  # no escaped name has a #
        return f"{self.prefix}:{whole}"

    def decided(self, decided: Decided) -> Decided:
        """Return a decision whose waits suffice, and end with the period where they can."""
        admitted, remaining, reset, wait = decided
        return (
            admitted,
            remaining,
            reset + self.step if reset else 0.0,
            wait + self.step if wait else wait,
        )

    async def look(self, storage: Storage, key: str) -> Seen:
        """Return what has been used of a key."""
        raise NotImplementedError

    async def charge(self, storage: Storage, key: str, cost: int, seen: Seen) -> Decided | None:
        """Charge a key, and return the decision; None where it was refused, and not charged."""
        raise NotImplementedError

    async def take_back(self, storage: Storage, key: str, cost: int, charged_at: float) -> None:
        """Take back what was charged, and never more than is there."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class FixedSeen:
    """What was used in this window, and when it began."""

    window: Window
    used: int
    elapsed: float

    def decide(self, cost: int) -> Decided:
        """See `Seen.decide`."""
        window = self.window
        return window.decided(
            fixed_window(window.count, window.period, self.used, self.elapsed, cost)
        )


@dataclass(frozen=True, slots=True)
class FixedWindow(Window):
    """One number a key."""

    async def look(self, storage: Storage, key: str) -> FixedSeen:
        """See `Window.look`."""
        used = max(0, await storage.get(key))
        if not used:
            return FixedSeen(self, 0, 0.0)
        rest = await storage.get_expiry(key) - time.time()
        return FixedSeen(self, used, self.period - min(max(0.0, rest), self.period))

    async def charge(self, storage: Storage, key: str, cost: int, seen: Seen) -> Decided | None:
        """See `Window.charge`."""
        used = await storage.incr(key, self.period, amount=cost)
        if used > self.count:  # of several who had seen room for one, all have charged
            await self.take_back(storage, key, cost, 0.0)
            return None
        elapsed = 0.0 if used <= cost else cast("FixedSeen", seen).elapsed
        return FixedSeen(self, used, elapsed).decide(0)

    async def take_back(
        self,
        storage: Storage,
        key: str,
        cost: int,
        charged_at: float,  # noqa: ARG002 - a window is over when its key is gone
    ) -> None:
        """See `Window.take_back`."""
        lower = _decrement(storage)
        if lower is not None:
            await lower(key, cost)
            return
        left = await storage.incr(key, self.period, amount=-cost)
        if left < 0:  # the window was over
            await storage.incr(key, self.period, amount=-left)


@dataclass(frozen=True, slots=True)
class SlidingSeen:
    """What was used in this window and the one before, and when this one began."""

    window: Window
    previous: int
    current: int
    elapsed: float

    def decide(self, cost: int) -> Decided:
        """See `Seen.decide`."""
        window = self.window
        counted = (self.previous, self.current, self.elapsed, cost)
        return window.decided(sliding_window(window.count, window.period, *counted))


@dataclass(frozen=True, slots=True)
class SlidingWindow(Window):
    """Two numbers a key."""

    async def look(self, storage: Storage, key: str) -> SlidingSeen:
        """See `Window.look`."""
        asked = cast("SlidingWindowCounterSupport", storage)
        previous, fades_in, current, ends_in = await asked.get_sliding_window(key, self.period)
        # The current window is kept for one more period; without it, only the other tells the time.
        rest = ends_in - self.period if ends_in else fades_in
        elapsed = self.period - min(max(0.0, rest), self.period)
        return SlidingSeen(self, max(0, previous), max(0, current), elapsed)

    async def charge(self, storage: Storage, key: str, cost: int, seen: Seen) -> Decided | None:
        """See `Window.charge`."""
        asked = cast("SlidingWindowCounterSupport", storage)
        if not await asked.acquire_sliding_window_entry(key, self.count, self.period, cost):
            return None
        before = cast("SlidingSeen", seen)
        now = SlidingSeen(self, before.previous, before.current + cost, before.elapsed)
        admitted, remaining, reset, _ = now.decide(0)
        return True, remaining if admitted else 0, reset, 0.0

    async def take_back(self, storage: Storage, key: str, cost: int, charged_at: float) -> None:
        """See `Window.take_back`."""
        lower, windows = _decrement(storage), getattr(storage, "sliding_window_keys", None)
        if lower is not None and windows is not None:
            await lower(windows(key, self.period, charged_at)[1], cost)
            return
        seen = await self.look(storage, key)
        if seen.current >= cost:  # or else it is in the window before, and fades
            asked = cast("SlidingWindowCounterSupport", storage)
            await asked.acquire_sliding_window_entry(key, self.count, self.period, -cost)


@dataclass(frozen=True, slots=True)
class MovingSeen:
    """How many units count, and when the oldest of them no longer does."""

    window: Window
    used: int
    oldest_ends_in: float

    def decide(self, cost: int) -> Decided:
        """See `Seen.decide`."""
        window, left = self.window, max(0, self.window.count - self.used)
        reset = self.oldest_ends_in + MARGIN if self.used else 0.0
        if cost <= left:
            return window.decided((True, left, reset, 0.0))
        wait = None
        if cost <= window.count:  # when more than one has to go, only the last is sure to be gone
            wait = reset if cost == left + 1 else window.period + MARGIN
        return window.decided((False, left, reset, wait))


@dataclass(frozen=True, slots=True)
class MovingWindow(Window):
    """The time of every hit."""

    can_take_back = False

    async def look(self, storage: Storage, key: str) -> MovingSeen:
        """See `Window.look`."""
        asked = cast("MovingWindowSupport", storage)
        oldest, used = await asked.get_moving_window(key, self.count, self.period)
        if not used:
            return MovingSeen(self, 0, 0.0)
        rest = oldest + self.period - time.time()
        return MovingSeen(self, used, min(max(0.0, rest), self.period))

    async def charge(self, storage: Storage, key: str, cost: int, seen: Seen) -> Decided | None:
        """See `Window.charge`."""
        asked = cast("MovingWindowSupport", storage)
        if not await asked.acquire_entry(key, self.count, self.period, amount=cost):
            return None
        before = cast("MovingSeen", seen)
        rest = before.oldest_ends_in if before.used else self.period
        return MovingSeen(self, before.used + cost, rest).decide(0)

    async def take_back(self, storage: Storage, key: str, cost: int, charged_at: float) -> None:
        """Do nothing: `limits` cannot."""


WINDOWS: Mapping[Algorithm, type[Window]] = MappingProxyType(
    {"sliding-window": SlidingWindow, "fixed-window": FixedWindow, "moving-window": MovingWindow}
)
"""How algorithms are counted in storages that can."""


def algorithms_of(storage: Storage) -> list[Algorithm]:
    """Return what a storage can count by."""
    able: list[Algorithm] = ["fixed-window"]
    if isinstance(storage, SlidingWindowCounterSupport):
        able.insert(0, "sliding-window")
    if isinstance(storage, MovingWindowSupport):
        able.append("moving-window")
    return able


def escaped(part: str) -> str:
    """Return a part of a key in printable ASCII, without what separates parts."""
    return quote(part.encode("utf-8", "surrogatepass"), safe="")


_Decrement: TypeAlias = Callable[[str, int], Awaitable[object]]


def _decrement(storage: Storage) -> _Decrement | None:
    """Return what lowers a number, but not below zero, where there is such a thing."""
    lower: Any = getattr(storage, "decr", None)
    if lower is None:
        lower = getattr(getattr(storage, "bridge", None), "decr", None)
    return cast("_Decrement | None", lower)
