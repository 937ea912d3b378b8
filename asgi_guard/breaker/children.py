"""Children: a breaker for each of many keys, such as hosts or tenants, and never too many."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from asgi_guard.breaker.states import BreakerState

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker


class Children:
    """The breakers of the keys that were asked for last.

    When there are as many as there may be, the closed one that was asked for least recently makes
    room. A breaker that is not closed is never forgotten: where no child is closed, further keys
    share their parent.

    Args:
        most: Children kept, from 1 up.
        make: Makes the child of a key.
        parent: The parent.
    """

    __slots__ = ("_children", "_lock", "_make", "_most", "_parent")

    def __init__(
        self, most: int, make: Callable[[str], "CircuitBreaker"], parent: "CircuitBreaker"
    ) -> None:
        self._most = most
        self._make = make
        self._parent = parent
        self._lock = threading.Lock()
        self._children: OrderedDict[str, CircuitBreaker] = OrderedDict()

    def of(self, key: str) -> "CircuitBreaker":
        """Return the child of a key."""
        with self._lock:
            child = self._children.get(key)
            if child is not None:
                self._children.move_to_end(key)
                return child
            if len(self._children) >= self._most and not self._make_room():
                return self._parent
            child = self._children[key] = self._make(key)
            return child

    def all(self) -> "list[CircuitBreaker]":
        """Return the children."""
        with self._lock:
            return list(self._children.values())

    def states(self) -> dict[BreakerState, int]:
        """Return how many children are in each state that one of them is in."""
        return dict(Counter(child.state for child in self.all()))

    def _make_room(self) -> bool:
        for key, child in self._children.items():
            if child.state is BreakerState.CLOSED:
                self._parent.core.adopt(child.core)
                del self._children[key]
                return True
        return False
