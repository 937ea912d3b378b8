"""An outage: a store that does not answer is left alone until it does.

The first failure begins it, so that a dead store costs nothing per request. It is ended by a probe
in the background, which is there only while it lasts: no request pays for finding out.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from weakref import WeakKeyDictionary

from asgi_guard.errors import StoreUnavailable
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.stores.store import Store

_LOG = logging.getLogger("asgi_guard")
_FIRST_PROBE = 0.1  # seconds
_LAST_PROBE = 1.0  # so that it is over soon after the store is back
_SPREAD = 0.2  # of each wait, at random: workers should not come back together
_PROBE = Quota(1000, 1.0)  # which any store can count
_PROBED_WITHIN = 1.0  # seconds: to connect may take longer than to ask


class Outage:
    """Whether a store can be asked, for one event loop.

    Args:
        probe: Asks the store, and raises `StoreUnavailable` where it gives no answer.

    Attributes:
        is_on: Whether the store is out.
        count: How often it has been out.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self._probe = probe
        self._probing: asyncio.Task[None] | None = None
        self._closed = False
        self.is_on: bool = False
        self.count: int = 0

    def begin(self, error: StoreUnavailable) -> None:
        """Take note that the store has failed."""
        if self.is_on or self._closed:
            return
        self.is_on = True
        self.count += 1
        _LOG.warning("rate limit: the store is out, rules go by on_store_failure: %s", error)
        self._probing = asyncio.get_running_loop().create_task(self._end())

    async def aclose(self) -> None:
        """Stop probing, for good."""
        self._closed = True
        if self._probing is not None and not self._probing.done():
            self._probing.cancel()
            await asyncio.wait([self._probing])

    async def _end(self) -> None:
        wait = _FIRST_PROBE
        while self.is_on:
            await asyncio.sleep(wait * random.uniform(1 - _SPREAD, 1 + _SPREAD))  # noqa: S311
            try:
                await self._probe()
            except StoreUnavailable:
                wait = min(2 * wait, _LAST_PROBE)
            else:
                self.is_on = False
                _LOG.warning("rate limit: the store is back")


class Outages:
    """The outages of one store: one for each event loop that asks it.

    Args:
        probe: Asks the store, and raises `StoreUnavailable` where it gives no answer.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self._probe = probe
        self._all: WeakKeyDictionary[asyncio.AbstractEventLoop, Outage] = WeakKeyDictionary()
        # Of the loop that asked last; one attribute, for loops in several threads.
        self._last: tuple[asyncio.AbstractEventLoop | None, Outage] = (None, Outage(probe))

    def __iter__(self) -> Iterator[Outage]:
        """Yield what is known of the store in each event loop."""
        return iter(list(self._all.values()))

    def of(self, loop: asyncio.AbstractEventLoop) -> Outage:
        """Return what is known of the store in the running event loop."""
        known, outage = self._last
        if known is not loop:
            outage = self._all.setdefault(loop, Outage(self._probe))
            self._last = (loop, outage)
        return outage

    async def aclose(self) -> None:
        """Stop probing in this event loop."""
        self._last = (None, self._last[1])
        outage = self._all.pop(asyncio.get_running_loop(), None)
        if outage is not None:
            await outage.aclose()


async def probe(store: Store, algorithm: Algorithm) -> None:
    """Ask a store for a sign of life.

    Args:
        store: The store.
        algorithm: One that it has.

    Raises:
        StoreUnavailable: There is none.
    """
    counter = store.counter("asgi_guard probe", _PROBE, algorithm)
    await store.hit([(counter, "probe", 1)], within=_PROBED_WITHIN)
