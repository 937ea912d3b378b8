"""Which `with` block is which: from a block's end back to the stamp of its beginning."""

import asyncio
import sys
import threading
from contextvars import ContextVar
from types import TracebackType
from typing import Self

from asgi_guard.breaker.core import Core
from asgi_guard.breaker.machine import Stamp
from asgi_guard.errors import CallTimeout


class OpenBlocks:
    """The `with` blocks of one breaker that have begun and not ended.

    A breaker is one object, and many tasks and threads are inside its blocks at once: the context
    tells them apart.
    """

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[_Block, None] = {}

    def begin(self, stamp: Stamp, frame: int, limit: asyncio.Timeout | None = None) -> None:
        """Note the beginning of a block.

        Args:
            stamp: What the call was stamped with.
            frame: The identity of the frame that the block stands in.
            limit: What ends the block when it takes too long; default None: nothing.
        """
        block = _Block(self, stamp, frame, limit)
        with self._lock:
            self._open[block] = None
        _entered.set((*(each for each in _entered.get() if each.is_open), block))

    def end(self, frame: int) -> "tuple[Stamp, asyncio.Timeout | None]":
        """Return the stamp of the block that ends, and what has limited its time.

        The context tells which it is. A block may end in another context than it began in (a sync
        dependency of FastAPI does): then the frame tells, and at the very last the newest is taken.

        Args:
            frame: The identity of the frame that the block stands in.

        Raises:
            RuntimeError: No block has begun.
        """
        in_context = [each for each in _entered.get() if each.owner is self and each.is_open]
        with self._lock:
            if not self._open:
                raise RuntimeError("a block of this breaker has ended that had not begun")
            if in_context:
                block = in_context[-1]
            else:
                in_frame = [each for each in self._open if each.frame == frame]
                block = (in_frame or list(self._open))[-1]
            del self._open[block]
        block.is_open = False
        return block.stamp, block.limit


class _Block:
    __slots__ = ("frame", "is_open", "limit", "owner", "stamp")

    def __init__(
        self, owner: OpenBlocks, stamp: Stamp, frame: int, limit: asyncio.Timeout | None
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
        self._open_blocks.begin(self.core.admit(), id(sys._getframe(1)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Settle the block's outcome."""
        stamp, _ = self._open_blocks.end(id(sys._getframe(1)))
        self.end(stamp, error)

    async def __aenter__(self) -> Self:
        """Admit the block, or raise `CircuitOpen`."""
        stamp = self.core.admit()
        limit = None if self.call_timeout is None else asyncio.timeout(self.call_timeout)
        if limit is not None:
            await limit.__aenter__()
        self._open_blocks.begin(stamp, id(sys._getframe(1)), limit)
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
        stamp, limit = self._open_blocks.end(id(sys._getframe(1)))
        if limit is not None:
            try:
                await limit.__aexit__(kind, error, traceback)
            except TimeoutError:
                late = CallTimeout(f"{self.name} gave no answer within {self.call_timeout:g} s")
                self.end(stamp, late)
                raise late from error
        self.end(stamp, error)
