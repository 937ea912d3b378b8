"""Which `with` block is which: from a block's end back to the stamp of its beginning."""

import threading
from contextvars import ContextVar

from asgi_guard.breaker.machine import Stamp


class OpenBlocks:
    """The `with` blocks of one breaker that have begun and not ended.

    A breaker is one object, and many tasks and threads are inside its blocks at once: the context
    tells them apart.
    """

    __slots__ = ("_lock", "_open")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[_Block, None] = {}

    def begin(self, stamp: Stamp, frame: int) -> None:
        """Note the beginning of a block.

        Args:
            stamp: What the call was stamped with.
            frame: The identity of the frame that the block stands in.
        """
        block = _Block(self, stamp, frame)
        with self._lock:
            self._open[block] = None
        _entered.set((*(each for each in _entered.get() if each.is_open), block))

    def end(self, frame: int) -> Stamp:
        """Return the stamp of the block that ends.

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
        return block.stamp


class _Block:
    __slots__ = ("frame", "is_open", "owner", "stamp")

    def __init__(self, owner: OpenBlocks, stamp: Stamp, frame: int) -> None:
        self.owner = owner
        self.stamp = stamp
        self.frame = frame
        self.is_open = True


_entered: ContextVar[tuple[_Block, ...]] = ContextVar("asgi_guard_breaker_blocks", default=())
