"""Which `with` block is which: from a block's end back to the stamp of its beginning."""

import asyncio
import sys
import threading
from contextvars import ContextVar
from types import CodeType, FrameType, TracebackType
from typing import Self

from asgi_guard.breaker.core import Core
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome
from asgi_guard.errors import CallTimeout


class OpenBlocks:
    """The `with` blocks of one breaker that have begun and not ended.

    A breaker is one object, and many tasks and threads are inside its blocks at once: nearly always
    the frame tells them apart, and where it does not, the context.
    """

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[int, list[_Block]] = {}  # by the number of the frame they stand in

    def begin(self, stamp: Stamp, frame: FrameType, limit: asyncio.Timeout | None = None) -> None:
        """Note the beginning of a block.

        Args:
            stamp: What the call was stamped with.
            frame: The frame that the block stands in.
            limit: What ends the block when it takes too long; default None: nothing.
        """
        block = _Block(self, stamp, frame, limit)
        with self._lock:
            here = self._open.get(block.place)
            if here is None:
                self._open[block.place] = [block]
            else:
                here.append(block)
        around = _entered.get()
        _entered.set((*[each for each in around if each.is_open], block) if around else (block,))

    def end(self, frame: FrameType) -> "tuple[Stamp, asyncio.Timeout | None]":
        """Return the stamp of the block that ends, and what has limited its time.

        The frame tells which it is, in whatever context the block ends (a sync dependency of
        FastAPI ends it in another than it began in). An exit stack begins and ends it in different
        frames: then the context tells, and at the very last the newest is taken.

        Args:
            frame: The frame that the block stands in.

        Raises:
            RuntimeError: No block has begun.
        """
        place = id(frame)
        with self._lock:
            here = self._open.get(place)
            if here is not None and len(here) == 1 and here[0].code is frame.f_code:
                block = here[0]  # as a `with` statement has it: the only one of its frame
                del self._open[place]
            else:
                block = self._take(place, frame.f_code)
        block.is_open = False
        return block.stamp, block.limit

    def _take(self, place: int, code: CodeType) -> "_Block":
        """Choose among several blocks, or where the frame is another than the block began in."""
        # A frame that has ended may have left its number to a frame of other code.
        here = [each for each in self._open.get(place, ()) if each.code is code]
        in_context = [each for each in _entered.get() if each.owner is self and each.is_open]
        anywhere = [each for blocks in self._open.values() for each in blocks]
        found = [each for each in in_context if each in here] or here or in_context or anywhere
        if not found:
            raise RuntimeError("a block of this breaker has ended that had not begun")
        block = found[-1]
        there = self._open[block.place]
        there.remove(block)
        if not there:
            del self._open[block.place]
        return block


class _Block:
    __slots__ = ("code", "is_open", "limit", "owner", "place", "stamp")

    def __init__(
        self, owner: OpenBlocks, stamp: Stamp, frame: FrameType, limit: asyncio.Timeout | None
    ) -> None:
        self.owner = owner
        self.stamp = stamp
        self.place = id(frame)
        self.code = frame.f_code
        self.limit = limit
        self.is_open = True


_entered: ContextVar[tuple[_Block, ...]] = ContextVar("asgi_guard_breaker_blocks", default=())


class Blocks:
    """What makes a breaker a `with` and an `async with` block.

    Attributes:
        name: The breaker's name.
        call_timeout: Seconds that an async block may take; None for any time.
        core: What the calls of the breaker share.
    """

    name: str
    call_timeout: float | None
    core: Core
    _open_blocks: OpenBlocks

    def end(self, stamp: Stamp, error: BaseException | None, result: object = None) -> Outcome:
        """Judge and settle a call."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Admit the block, or raise `CircuitOpen`."""
        self._open_blocks.begin(self.core.admit(), sys._getframe(1))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the block's outcome."""
        stamp, _ = self._open_blocks.end(sys._getframe(1))
        self.end(stamp, error)

    async def __aenter__(self) -> Self:
        """Admit the block, or raise `CircuitOpen`."""
        stamp = self.core.admit()
        limit = None if self.call_timeout is None else asyncio.timeout(self.call_timeout)
        if limit is not None:
            try:
                await limit.__aenter__()
            except BaseException:  # there is no task to end
                self.core.settle(stamp, Outcome.IGNORED)
                raise
        self._open_blocks.begin(stamp, sys._getframe(1), limit)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the block's outcome.

        Raises:
            CallTimeout: It took longer than `call_timeout`.
        """
        stamp, limit = self._open_blocks.end(sys._getframe(1))
        if limit is not None:
            try:
                await limit.__aexit__(kind, error, traceback)
            except TimeoutError:
                late = CallTimeout(f"{self.name} gave no answer within {self.call_timeout:g} s")
                self.end(stamp, late)
                raise late from error
            if error is None and limit.expired():  # it was cancelled, and went on
                self.core.settle(stamp, Outcome.FAILURE)
                return
        self.end(stamp, error)
