"""Children: a breaker for each of many keys, such as hosts or tenants, and never too many."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from weakref import ReferenceType, ref

from asgi_guard.breaker.core import Core
from asgi_guard.breaker.states import BreakerState

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker


class Children:
    """The breakers of the keys that were asked for last.

    When there are as many as there may be, the closed one that was asked for least recently makes
    room; where none is closed, one whose open time is over, and that nobody tries. A breaker that
    is open is never forgotten: where all are, further keys share their parent. One that made room
    is found again for as long as somebody holds it, or a call of its is under way, so that a key
    never has two; then the parent takes over what it has counted.

    Args:
        most: Children kept, from 1 up.
        make: Makes the child of a parent for a key.

    Attributes:
        lock: To be held while the cores are read.
    """

    __slots__ = ("_children", "_departed", "_make", "_most", "lock")

    def __init__(self, most: int, make: "Callable[[CircuitBreaker, str], CircuitBreaker]") -> None:
        self._most = most
        self._make = make
        self.lock: threading.RLock = threading.RLock()
        self._departed: dict[str, tuple[ReferenceType[CircuitBreaker], Core]] = {}
        self._children: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def of(self, parent: "CircuitBreaker", key: str) -> "CircuitBreaker":
        """Return the child of a key, or the parent.

        Args:
            parent: The parent, who is not kept: a circle would keep children that have departed.
            key: The key.
        """
        with self.lock:
            child = self._children.get(key)
            if child is not None:
                self._children.move_to_end(key)
                return child
            child = self._held(key)
            if len(self._children) >= self._most and not self._make_room(parent):
                return child or parent
            if child is None:
                child = self._make(parent, key)
            else:
                del self._departed[key]
            self._children[key] = child
            return child

    def cores(self) -> Iterator[Core]:
        """Yield the cores of all that count by themselves; the lock is held by whoever asks."""
        yield from (child.core for child in self._children.values())
        yield from (core for _, core in self._departed.values())

    def states(self) -> dict[BreakerState, int]:
        """Return how many children are in each state that one of them is in."""
        with self.lock:
            children = list(self._children.values())
        return dict(Counter(child.state for child in children))

    def _make_room(self, parent: "CircuitBreaker") -> bool:
        key = self._least_missed()
        if key is None:
            return False
        child = self._children.pop(key)
        self._adopt_departed(parent.core)
        self._departed[key] = (ref(child), child.core)
        return True

    def _held(self, key: str) -> "CircuitBreaker | None":
        child, _ = self._departed.get(key, (None, None))
        return None if child is None else child()

    def _least_missed(self) -> str | None:
        tried: str | None = None
        for key, child in self._children.items():
            state = child.state
            if state is BreakerState.CLOSED:
                return key
            if tried is None and state is BreakerState.HALF_OPEN and not child.retry_after:
                tried = key
        return tried

    def _adopt_departed(self, heir: Core) -> None:
        for key, (child, core) in list(self._departed.items()):
            if child() is None:
                heir.adopt(core)
                del self._departed[key]
