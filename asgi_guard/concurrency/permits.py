"""Permits: at most so many at once, the rest wait in order or are refused.

While a permit is free, taking and returning one is integer arithmetic. When none is, callers queue
first in, first out, and a returned permit is handed to the first of them: it is never free in
between, so nobody overtakes. A waiter that is cancelled in the moment it was handed a permit passes
it on.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from weakref import WeakKeyDictionary

from asgi_guard._checks import check_count, check_seconds
from asgi_guard.current import running_loop
from asgi_guard.errors import ConcurrencyExceeded

_SOON = 1.0  # seconds; the shortest wait worth advising


@dataclass(frozen=True, slots=True)
class PermitsSnapshot:
    """The state of permits at one moment, over all event loops.

    Attributes:
        limit: Permits per event loop.
        in_flight: Permits held.
        waiting: Callers in the queue.
        queue_full: Callers refused so far because the queue was full.
        timeout: Callers refused so far because their wait was in vain.
    """

    limit: int
    in_flight: int
    waiting: int
    queue_full: int
    timeout: int


class Permits:
    """At most `limit` at once; a semaphore with a bounded queue.

    The limit holds per event loop, and per process. Use it as `async with permits:`, or call
    `acquire()` and, in `finally`, `release()`.

    Args:
        limit: Permits, a whole number from 1 up.
        max_waiting: Callers that may wait, from 0 (nobody waits) up; default 100.
        max_wait: Seconds a caller may wait, from 0 up; None (the default) is as long as it takes.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    def __init__(
        self, limit: int, *, max_waiting: int = 100, max_wait: float | None = None
    ) -> None:
        check_count("Permits.limit", limit)
        check_count("Permits.max_waiting", max_waiting, least=0)
        if max_wait is not None:
            check_seconds("Permits.max_wait", max_wait, zero=True)
        self.limit: int = limit
        self.max_waiting: int = max_waiting
        self.max_wait: float | None = max_wait
        self._queue_full = 0
        self._timeout = 0
        # The loop that ran last and its ledger; one attribute, so that loops in several threads
        # cannot mix each other's halves up.
        self.last: tuple[asyncio.AbstractEventLoop | None, Ledger] = (None, Ledger(0))
        self._ledgers: WeakKeyDictionary[asyncio.AbstractEventLoop, Ledger] = WeakKeyDictionary()

    def try_acquire(self) -> bool:
        """Take a permit if one is free, without waiting; return whether it was taken."""
        return self.ledger().take()

    async def acquire(self) -> None:
        """Take a permit, waiting for it in turn.

        Raises:
            ConcurrencyExceeded: The queue is full, or the wait was in vain.
        """
        ledger = self.ledger()
        if not ledger.take():
            await self.wait(ledger)

    def release(self) -> None:
        """Give a permit back: to the first who waits, if anybody does.

        Raises:
            RuntimeError: No permit is held in this event loop.
        """
        ledger = self.ledger()
        if not ledger.held:
            raise RuntimeError("release() without a permit held in this event loop")
        ledger.give_back()

    async def __aenter__(self) -> None:
        """Take a permit, waiting for it in turn."""
        await self.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give it back."""
        self.release()

    def resize(self, limit: int) -> None:
        """Change the limit; from any thread.

        A higher one lets in who waits. With a lower one nobody loses a permit: it holds once
        enough have been given back.

        Args:
            limit: Permits, a whole number from 1 up.

        Raises:
            ConfigurationError: The limit is out of range.
        """
        check_count("Permits.limit", limit)
        self.limit = limit
        for loop, ledger in list(self._ledgers.items()):
            if loop is running_loop():
                self._fit(ledger)
            else:  # who waits there can only be woken there
                with suppress(RuntimeError):  # a loop that is closed
                    loop.call_soon_threadsafe(self._fit, ledger)

    def snapshot(self) -> PermitsSnapshot:
        """Return the state of this moment."""
        ledgers = list(self._ledgers.values())
        return PermitsSnapshot(
            limit=self.limit,
            in_flight=sum(ledger.held for ledger in ledgers),
            waiting=sum(len(ledger.waiters) for ledger in ledgers),
            queue_full=self._queue_full,
            timeout=self._timeout,
        )

    def ledger(self) -> "Ledger":
        """Return the ledger of the running event loop."""
        loop = asyncio.get_running_loop()
        known, ledger = self.last
        if loop is not known:
            ledger = self._ledgers.setdefault(loop, Ledger(self.limit))
            self._fit(ledger)  # it may have been changed in this moment, by another thread
            self.last = (loop, ledger)
        return ledger

    def _fit(self, ledger: "Ledger") -> None:
        ledger.resize(self.limit)

    async def wait(self, ledger: "Ledger") -> None:
        """Wait in turn for a permit of a ledger that has none free.

        Raises:
            ConcurrencyExceeded: The queue is full, or the wait was in vain.
        """
        if len(ledger.waiters) >= self.max_waiting or self.max_wait == 0:
            self._queue_full += 1
            raise ConcurrencyExceeded(
                "no permit is free, and the queue is full", _SOON, "queue_full"
            )
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        ledger.waiters[waiter] = None
        timer = (
            None
            if self.max_wait is None
            else loop.call_later(self.max_wait, ledger.give_up, waiter)
        )
        try:
            handed = await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.result():
                ledger.give_back()  # handed over in the same moment: pass it on
            else:
                ledger.waiters.pop(waiter, None)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if not handed:
            self._timeout += 1
            raise ConcurrencyExceeded(
                f"no permit came free within {self.max_wait} s",
                max(_SOON, self.max_wait or 0.0),
                "timeout",
            )


class Ledger:
    """Who holds and who waits in one event loop."""

    __slots__ = ("__weakref__", "giving_back", "held", "limit", "waiters")

    def __init__(self, limit: int) -> None:
        self.limit: int = limit
        self.held: int = 0
        # What to call to return a permit: made once, and not for each.
        self.giving_back: tuple[Callable[[object], None]] = (self.give_back,)
        # Ordered, and anybody can leave at no cost; True hands a permit over, False gives up.
        self.waiters: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    def take(self) -> bool:
        """Take a permit if one is free; return whether it was."""
        if self.held < self.limit:
            self.held += 1
            return True
        return False

    def give_back(self, _: object = None) -> None:
        """Hand a permit to the first who still waits, or free it."""
        while self.waiters and self.held <= self.limit:  # which may be lower than it was
            if self._wake_first():
                return
        self.held -= 1

    def resize(self, limit: int) -> None:
        """Change the limit, and let in who waits for what is free now."""
        self.limit = limit
        while self.waiters and self.held < limit:
            self.held += self._wake_first()

    def give_up(self, waiter: "asyncio.Future[bool]") -> None:
        """End a wait that has lasted long enough."""
        self.waiters.pop(waiter, None)
        if not waiter.done():
            waiter.set_result(False)

    def _wake_first(self) -> bool:
        """Take the first out of the queue; return whether it takes a permit."""
        waiter, _ = self.waiters.popitem(last=False)
        if waiter.done():  # a cancelled waiter is done before it can leave the queue
            return False
        waiter.set_result(True)
        return True
