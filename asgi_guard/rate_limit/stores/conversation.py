"""A conversation with a server: questions that come while it answers travel together.

A server that is asked by every request needs no connection for each: what is asked in one turn of
the event loop, or while answers are on their way, is sent as one. There is no task and no timer for
a question, or for those that travel together: an alarm is set for who waits the shortest, and
finds nobody late as long as all is well.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Protocol, TypeAlias

from asgi_guard.errors import StoreUnavailable

_BUSY = 0.005  # seconds that a timer is late
_TO_READ = 0.01

Question: TypeAlias = tuple["asyncio.Future[list[int]]", float, float, bytes, Sequence[bytes], int]
"""Where the answer goes, when it is too late for one, how many seconds it may take, what is asked,
of which keys, and how many numbers are the answer."""


class Carrier(Protocol):
    """What takes questions to the server, in order, and tells the conversation what came back."""

    @property
    def most(self) -> int:
        """How many times questions are under way at once, from 1 up."""
        ...

    @property
    def has_answered(self) -> bool:
        """Whether an answer has come back by it.

        Then it was in order, and may have been closed because it lay idle.
        """
        ...

    def say(self, questions: Sequence[Question], *, again: bool = False) -> None:
        """Send questions together; again where the server did not know the script."""
        ...

    def drop(self) -> None:
        """Leave the server at once."""
        ...

    async def aclose(self) -> None:
        """Wait until it has been left."""
        ...


class Conversation:
    """Questions of one event loop and their answers.

    Args:
        connect: Returns a carrier that is ready, and tells the conversation that it is given.
        most: The most questions that travel together, from 1 up.
    """

    def __init__(self, connect: "Callable[[Conversation], Awaitable[Carrier]]", most: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._connect = connect
        self._most = most
        self._gathered: list[Question] = []
        self._under_way: deque[Sequence[Question]] = deque()
        self._carrier: Carrier | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._is_due = False  # whether something is about to happen after which all is sent
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._has_waited = False  # whether the alarm was put off

    def ask(
        self, asked: bytes, keys: Sequence[bytes], size: int, within: float
    ) -> "asyncio.Future[list[int]]":
        """Ask one question; return what its answer will be, or `StoreUnavailable`.

        Args:
            asked: What to ask.
            keys: What it is about.
            size: How many numbers are the answer.
            within: Seconds to wait for the answer.
        """
        loop = self._loop
        waiting: asyncio.Future[list[int]] = loop.create_future()
        until = loop.time() + within
        self._gathered.append((waiting, until, within, asked, keys, size))
        if until < self._alarm_at:
            self._set_alarm(until)
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._send)  # after what else is asked in this turn
        return waiting

    async def aclose(self) -> None:
        """End the conversation; whoever waits for an answer gets none."""
        connecting, carrier = self._connecting, self._carrier
        self._end("the store is closed")
        if self._alarm is not None:
            self._alarm.cancel()
        if connecting is not None:
            await asyncio.wait([connecting])
        if carrier is not None:
            await carrier.aclose()

    def answered(self, carrier: Carrier, numbers: list[int]) -> None:
        """Hand out the answers to the questions that were sent first."""
        if carrier is not self._carrier:
            return
        asked = self._under_way[0] if self._under_way else ()
        if not asked or len(numbers) != sum(size for *_, size in asked):
            self.failed(carrier, ValueError(f"{len(numbers)} numbers are no answer"))
            return
        self._under_way.popleft()
        at = 0
        for waiting, *_, size in asked:
            if not waiting.done():
                waiting.set_result(numbers[at : at + size])
            at += size
        self._send()

    def unknown(self, carrier: Carrier) -> None:
        """Send the questions that were sent first again: the server did not know the script."""
        if carrier is self._carrier:
            first = self._under_way.popleft()
            self._under_way.append(first)
            carrier.say(first, again=True)

    def lost(self, carrier: Carrier, error: BaseException) -> None:
        """Ask once more by another carrier, where this one has ever been in order."""
        if carrier is not self._carrier:
            return
        if not carrier.has_answered:
            self._end(repr(error), error)
            return
        self._carrier = None
        self._gathered[:0] = [question for each in self._under_way for question in each]
        self._under_way.clear()
        self._send()

    def failed(self, carrier: Carrier, error: BaseException) -> None:
        """Give up: who has gathered meanwhile would wait for what has just failed."""
        if carrier is self._carrier:
            self._end(repr(error), error)

    def _send(self) -> None:
        self._is_due = False
        while self._gathered:
            carrier = self._carrier
            if carrier is None:
                self._is_due = True
                if self._connecting is None:
                    self._connecting = self._loop.create_task(self._open())
                return
            if len(self._under_way) >= carrier.most:
                self._is_due = True
                return
            gathered, self._gathered = self._gathered, []
            together = [each for each in gathered if not each[0].done()]
            together, self._gathered = together[: self._most], together[self._most :]
            if together:
                self._under_way.append(together)
                carrier.say(together)

    async def _open(self) -> None:
        try:
            carrier = await self._connect(self)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            if self._connecting is asyncio.current_task():
                self._connecting = None
                self._end(repr(error), error)
        else:
            if self._connecting is not asyncio.current_task():  # nobody waits for it any more
                carrier.drop()  # though it was cancelled: a client may keep that to itself
                return
            self._connecting = None
            self._carrier = carrier
            self._send()

    def _set_alarm(self, at: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        """Look for who waits in vain."""
        now = self._loop.time()
        is_late = now - self._alarm_at > _BUSY
        self._alarm, self._alarm_at = None, inf
        if is_late and not self._has_waited:
            self._has_waited = True  # once: then what the loop was too busy to read has been read
            self._set_alarm(now + _TO_READ)
            return
        self._has_waited = False
        waits = [each for each in self._all() if not each[0].done()]
        # A server that is silent answers nobody in time who would wait no longer than this one.
        patience = max((within for _, until, within, *_ in waits if until <= now), default=0.0)
        late = [each for each in waits if each[2] <= patience]
        first = min((each[1] for each in waits if each[2] > patience), default=inf)
        if late:
            error = TimeoutError("no answer in time")
            _refuse(late, repr(error), error)
            if first == inf:
                self._end(repr(error), error)
        if first != inf:
            self._set_alarm(first)

    def _all(self) -> list[Question]:
        return [question for each in (*self._under_way, self._gathered) for question in each]

    def _end(self, why: str, cause: BaseException | None = None) -> None:
        """Leave the server, and tell everybody why there is no answer."""
        carrier, self._carrier = self._carrier, None
        connecting, self._connecting = self._connecting, None
        left = self._all()
        self._under_way.clear()
        self._gathered = []
        self._is_due = False
        if carrier is not None:
            carrier.drop()
        if connecting is not None:
            connecting.cancel()
        _refuse(left, why, cause)


def _refuse(questions: Sequence[Question], why: str, cause: BaseException | None) -> None:
    for waiting, *_ in questions:
        if not waiting.done():
            error: Any = StoreUnavailable(why)
            error.__cause__ = cause
            waiting.set_exception(error)
