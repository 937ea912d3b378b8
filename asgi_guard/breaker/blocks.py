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

    def begin(self, stamp: Stamp) -> None:
        """Note the beginning of a block."""
        block = _Block(self, stamp)
        with self._lock:
            self._open[block] = None
        _entered.set((*_entered.get(), block))

    def end(self) -> Stamp:
        """Return the stamp of the block that ends."""
        entered = _entered.get()
        block = next((each for each in reversed(entered) if each.owner is self), None)
        if block is not None:
            _entered.set(tuple(each for each in entered if each is not block))
        with self._lock:
            # A block may end in another context than it began in (a sync dependency of FastAPI
            # does). Then the oldest is as good as any: each is settled, and settled once.
            if block is None or block not in self._open:
                block = next(iter(self._open))
            del self._open[block]
        return block.stamp


class _Block:
    __slots__ = ("owner", "stamp")

    def __init__(self, owner: OpenBlocks, stamp: Stamp) -> None:
        self.owner = owner
        self.stamp = stamp


_entered: ContextVar[tuple[_Block, ...]] = ContextVar("asgi_guard_breaker_blocks", default=())
