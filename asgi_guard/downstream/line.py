"""The line before a downstream in one event loop: who is inside, who waits, and who is next.

While a slot is free and the last start is long enough ago, entering is arithmetic. Otherwise
callers wait in order. Who is next is decided when a slot is free and it is time, not before: a
waiter that is cancelled has taken no start from anybody. One timer waits for the next start,
however many callers do. A waiter that is cancelled in the moment it was let in gives slot and start
back.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from asgi_guard.downstream.counts import Counts
from asgi_guard.downstream.order import Order
from asgi_guard.downstream.spacing import Spacing, Start
from asgi_guard.errors import CircuitOpen, DownstreamBusy, Rejected

_SOON = 1.0  # seconds; the shortest wait worth advising
_TICK = 0.001  # seconds; by as much a loop may wake up too early

Refusal: TypeAlias = Callable[[], CircuitOpen | None]


class Line:
    """Who is inside and who waits in one event loop.

    Args:
        name: The downstream's name.
        max_concurrent: Slots, from 1 up.
        min_interval: Seconds between two starts, from 0 up.
        max_queue: Callers that may wait, from 0 up.
        aging: Seconds of waiting that make up for one class; None: none ever do.
        counts: What counts the waits.

    Attributes:
        held: Slots that are taken.
        waiters: Who waits.
    """

    __slots__ = (
        "__weakref__",
        "_counts",
        "_due",
        "_max_concurrent",
        "_max_queue",
        "_min_interval",
        "_name",
        "_spacing",
        "_timer",
        "held",
        "waiters",
    )

    def __init__(
        self,
        name: str,
        max_concurrent: int,
        min_interval: float,
        max_queue: int,
        aging: float | None,
        counts: Counts,
    ) -> None:
        self._name = name
        self._max_concurrent = max_concurrent
        self._min_interval = min_interval
        self._max_queue = max_queue
        self._counts = counts
        self._spacing = Spacing(min_interval)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.held: int = 0
        self.waiters: Order[_Waiter] = Order(aging)

    async def enter(self, priority: int, ends: float | None) -> Start:
        """Take a slot and a start, waiting for them in order.

        Args:
            priority: How much the caller matters.
            ends: When the wait ends in vain, on the loop's clock; None: never.

        Raises:
            DownstreamBusy: Nobody more may wait, or the wait was in vain.
            CircuitOpen: The breaker has opened meanwhile.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if not self.waiters and self.held < self._max_concurrent and now >= self._spacing.next:
            return self._start(now)
        waiter = _Waiter(priority, _Told(loop))
        place = self.waiters.join(waiter, priority, now)
        waiter.told.leave = partial(self.waiters.leave, place)
        if len(self.waiters) > self._max_queue:
            last = self.waiters.pop_last()
            if last is waiter:
                raise self._busy("queue_full", "nobody more may wait")
            last.tell(self._busy("queue_full", "somebody more important has come"))
        timer = None if ends is None else loop.call_at(ends, self._give_up, waiter)
        self.advance()
        try:
            told = await waiter.told
        except BaseException:
            self.waiters.leave(place)
            if isinstance(waiter.answer(), Start):
                self.give_back(waiter.answer())  # let in, in the same moment: somebody else may
            self.advance()
            raise
        finally:
            self._counts.add_wait(loop.time() - now)
            if timer is not None:
                timer.cancel()
        if isinstance(told, Rejected):
            self.waiters.leave(place)
            self.advance()
            raise told
        return told

    def leave(self) -> None:
        """Give a slot back, and let in who is next."""
        self.held -= 1
        self.advance()

    def give_back(self, start: object) -> None:
        """Give back a slot and a start that came to nothing."""
        if isinstance(start, Start):
            self._spacing.give_back(start)
        self.leave()

    def advance(self) -> None:
        """Let in who is next, as far as there are slots and it is time."""
        while self.waiters:
            waiter = self.waiters.first()
            if self.held >= self._max_concurrent:
                break
            loop = waiter.told.get_loop()
            now = loop.time()
            if now < self._spacing.next:
                self._wait_for_start(loop)
                return
            self.waiters.pop_first()
            waiter.tell(self._start(now))
        if self._timer is not None:  # nobody waits for a start: there is none, or there is no slot
            self._timer.cancel()
            self._timer = None

    def drain(self, refusal: Refusal) -> None:
        """Refuse all who wait.

        Args:
            refusal: Returns what to refuse one with; None: it is not to be refused after all.
        """
        while self.waiters:
            refused = refusal()
            if refused is None:
                break
            self.waiters.pop_first().tell(refused)
        self.advance()

    def waiting(self) -> "Counter[int]":
        """Return how many wait, by priority."""
        return Counter(waiter.priority for waiter in self.waiters.all())

    def refuse_late(self) -> DownstreamBusy:
        """Return what a caller is refused with whose time is over before its call."""
        return self._busy("timeout", "the time was over before it could begin")

    def _start(self, now: float) -> Start:
        self.held += 1
        return self._spacing.take(now)

    def _wait_for_start(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._spacing.next
        if self._timer is not None:
            if self._due == due:
                return
            self._timer.cancel()
        self._due = due
        self._timer = loop.call_at(due, self._on_time, loop)

    def _on_time(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if loop.time() < self._due:
            self._timer = loop.call_later(_TICK, self._on_time, loop)
        else:
            self.advance()

    def _give_up(self, waiter: "_Waiter") -> None:
        waiter.told.leave()
        waiter.tell(self.refuse_late())

    def _busy(self, reason: str, why: str) -> DownstreamBusy:
        soon = max(_SOON, len(self.waiters) * self._min_interval)
        return DownstreamBusy(
            f"downstream {self._name!r} is busy: {why}", soon, downstream=self._name, reason=reason
        )


class _Told(asyncio.Future["Start | Rejected"]):
    """What a waiter is told. Who is cancelled leaves at once: its task does only in the next turn.

    Until then it would count, and somebody would be refused for whom there is room.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.leave: Callable[[], None]

    def cancel(self, msg: object = None) -> bool:
        is_cancelled = super().cancel(msg)
        if is_cancelled:
            self.leave()
        return is_cancelled


class _Waiter:
    __slots__ = ("priority", "told")

    def __init__(self, priority: int, told: _Told) -> None:
        self.priority = priority
        self.told = told

    def tell(self, answer: Start | Rejected) -> None:
        if not self.told.done():
            self.told.set_result(answer)

    def answer(self) -> Start | Rejected | None:
        if self.told.done() and not self.told.cancelled():
            return self.told.result()
        return None
