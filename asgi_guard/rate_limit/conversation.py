"""A conversation with a server: questions that come while it answers travel together.

A server that is asked by every request needs no connection for each: while one question is on its
way, others gather, and are sent as one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from asgi_guard.errors import StoreUnavailable

_BUSY = 0.005  # seconds that a timer is late
_TO_READ = 0.01
_ALIKE = 0.5  # seconds; those who wait equally long have come at different times

Q = TypeVar("Q")
A = TypeVar("A")

_Asked: TypeAlias = tuple[Q, asyncio.Future[A], float]
"""A question, where its answer goes, and when it is too late for one."""


class Conversation(Generic[Q, A]):
    """One at a time is asked, with all the questions that have gathered; for one event loop.

    Args:
        ask: Sends questions, and returns their answers in order.
        most: The most questions that travel together, from 1 up.
    """

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Sequence[A]]], most: int) -> None:
        self._ask = ask
        self._most = most
        self._gathered: list[_Asked[Q, A]] = []
        self._idle: asyncio.Future[None] | None = None
        self._talking: asyncio.Task[None] | None = None
        self._until = 0.0
        self._is_closing = False

    async def ask(self, question: Q, within: float) -> A:
        """Ask one question.

        Args:
            question: What to ask.
            within: Seconds to wait for the answer.

        Raises:
            StoreUnavailable: There was no answer within that time, or an error instead.
        """
        return await self.begin(question, within)

    def begin(self, question: Q, within: float) -> "asyncio.Future[A]":
        """Ask one question; return where its answer goes, for who must know it in any case."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        until = loop.time() + within
        self._gathered.append((question, answer, until))
        if until < self._until:  # of a question under way that may take longer than this one
            loop.call_at(until, _give_up, answer)
        if self._idle is not None:
            if not self._idle.done():
                self._idle.set_result(None)
            self._idle = None
        elif self._talking is None or self._talking.done():
            self._talking = loop.create_task(self._talk())
        return answer

    async def aclose(self) -> None:
        """End the conversation; whoever waits for an answer gets none."""
        if self._talking is not None:
            self._is_closing = True
            self._talking.cancel()
            await asyncio.wait([self._talking])
            self._is_closing = False
        self._refuse([], "the store is closed")  # to those it has not even begun with

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        together: list[_Asked[Q, A]] = []
        try:
            while not self._is_closing:  # a client may keep a cancellation to itself
                if not self._gathered:
                    self._idle = loop.create_future()
                    await self._idle
                together = [each for each in self._gathered if not each[1].done()]
                together, self._gathered = together[: self._most], together[self._most :]
                if together:
                    await self._ask_together(together)
                    self._until = 0.0
        finally:
            self._idle = None
            self._refuse(together, "the store is closed")

    async def _ask_together(self, together: list[_Asked[Q, A]]) -> None:
        # Who can wait for longer than others does; each of those has said when to give up.
        untils = [until for _, _, until in together]
        deadline, self._until = min(untils), max(untils)
        if self._until - deadline > _ALIKE:
            deadline = self._until
            for _, waiting, until in together:
                asyncio.get_running_loop().call_at(until, _give_up, waiting)
        try:
            async with asyncio.timeout(None) as limit:
                timer = asyncio.get_running_loop().call_at(deadline, _expire, limit, deadline)
                try:
                    answers = await self._ask([question for question, _, _ in together])
                finally:
                    timer.cancel()
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no answer
            # Who has gathered meanwhile would wait for what has just failed, and longer than told.
            self._refuse(together, repr(error), error)
        else:
            for (_, waiting, _), answer in zip(together, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)

    def _refuse(
        self, together: list[_Asked[Q, A]], why: str, cause: Exception | None = None
    ) -> None:
        gathered, self._gathered = self._gathered, []
        for _, waiting, _ in (*together, *gathered):
            if not waiting.done():
                error = StoreUnavailable(why)
                error.__cause__ = cause
                waiting.set_exception(error)


def _give_up(answer: "asyncio.Future[Any]") -> None:
    if not answer.done():
        answer.set_exception(StoreUnavailable("no answer in time"))


def _expire(limit: asyncio.Timeout, deadline: float) -> None:
    """End a wait; where the loop was busy meanwhile, the answer may be there, and not be read."""
    now = asyncio.get_running_loop().time()
    limit.reschedule(now + _TO_READ if now - deadline > _BUSY else now)
