"""Refills: a lease that runs low is filled up before anybody has to wait for more.

Nobody waits for a refill, so those of a few milliseconds are asked for together: a trip for thirty
questions costs this process little more than a trip for one.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from asgi_guard.rate_limit.stores.leases import Lease

_GATHERED = 0.005  # seconds
_PARTING = 0.5  # seconds for refills under way at shutdown

Wanted: TypeAlias = tuple[Lease, str, float]
"""A lease that runs low, its key, and the seconds within which an answer is wanted."""

Fill: TypeAlias = Callable[[Lease, str, float], "asyncio.Future[Any] | None"]
"""Asks for what a lease lacks, and has it taken in; None where it lacks nothing any more."""


class Refills:
    """The refills of one event loop.

    Args:
        fill: Asks for one.
    """

    def __init__(self, fill: Fill) -> None:
        self._fill = fill
        self._wanted: list[Wanted] = []
        self._alarm: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Future[Any]] = set()

    def want(self, wanted: Wanted) -> None:
        """Take note of a lease that runs low; it is filled up soon."""
        self._wanted.append(wanted)
        if self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_later(_GATHERED, self._ask)

    async def aclose(self) -> None:
        """Ask for no more, and wait a moment for what is under way, so that it is not lost."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._wanted.clear()
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_PARTING)

    def _ask(self) -> None:
        self._alarm = None
        wanted, self._wanted = self._wanted, []
        for each in wanted:
            asking = self._fill(*each)
            if asking is not None:
                self._under_way.add(asking)
                asking.add_done_callback(self._under_way.discard)
