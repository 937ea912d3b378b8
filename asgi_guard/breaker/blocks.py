"""Which `with` block is which: from a block's end back to the stamp of its beginning."""

import asyncio
import sys
import threading
from contextvars import ContextVar
from types import CodeType, FrameType, TracebackType
from typing import Self, TypeAlias

from asgi_guard.breaker.core import Core
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome
from asgi_guard.errors import CallTimeout


class OpenBlocks:
    """The `with` blocks of one breaker that have begun and not ended.

    A breaker is one object, and many tasks and threads are inside its blocks at once: the context
    tells them apart.
    """

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._open: dict[_Block, None] = {}

    def begin(self, stamp: Stamp, frame: FrameType, limit: asyncio.Timeout | None = None) -> None:
        """Note the beginning of a block.

        Args:
            stamp: What the call was stamped with.
            frame: The frame that the block stands in.
            limit: What ends the block when it takes too long; default None: nothing.
        """
        block = _Block(self, stamp, _identity(frame), limit)
        with self._lock:
            self._open[block] = None
        _entered.set((*(each for each in _entered.get() if each.is_open), block))

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
        place = _identity(frame)
        in_context = [each for each in _entered.get() if each.owner is self and each.is_open]
        here = [each for each in in_context if each.frame == place]
        with self._lock:
            if not self._open:
                raise RuntimeError("a block of this breaker has ended that had not begun")
            if not here:
                anywhere = [each for each in self._open if each.frame == place]
                here = anywhere or in_context or list(self._open)
            block = here[-1]
            del self._open[block]
        block.is_open = False
        return block.stamp, block.limit


_Identity: TypeAlias = tuple[int, CodeType]


def _identity(frame: FrameType) -> _Identity:
    """Tell frames apart while they last; what has ended may leave its number to other code."""
    return id(frame), frame.f_code


class _Block:
    __slots__ = ("frame", "is_open", "limit", "owner", "stamp")

    def __init__(
        self, owner: OpenBlocks, stamp: Stamp, frame: _Identity, limit: asyncio.Timeout | None
    ) -> None:
        self.owner = owner
        self.stamp = stamp
        self.frame = frame
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

    def end(self, stamp: Stamp, error: BaseException | None, result: object = None) -> None:
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
