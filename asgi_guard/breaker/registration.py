"""Registration: who shows a breaker; one that nobody shows says so when it is first used."""

import logging
from weakref import WeakSet

_LOG = logging.getLogger("asgi_guard")
_at_work: WeakSet[object] = WeakSet()
_used: WeakSet["Registration"] = WeakSet()


def begin_work(shell: object) -> None:
    """Note a stack that is at work, for as long as it lives: it could show breakers."""
    _at_work.add(shell)
    for registration in list(_used):
        registration()


class Registration:
    """Whether a breaker, with its children, is shown by a `Guard` or `Breakers`.

    It is called before the first call is admitted, and says once that nobody shows it.

    Args:
        name: The breaker's name.

    Attributes:
        is_settled: Whether there is nothing to say any more.
    """

    __slots__ = ("__weakref__", "_name", "is_settled")

    def __init__(self, name: str) -> None:
        self._name = name
        self.is_settled: bool = False

    def __call__(self) -> None:
        """Say so, if some stack is at work, or else once one is."""
        if self.is_settled:
            return
        if not _at_work:
            _used.add(self)
            return
        self.is_settled = True
        _LOG.warning(
            "AG004: circuit %r is used, but no Guard shows it: metrics and health know nothing of "
            "it. Name it: Guard(breakers=[...]). See docs/reference/circuit-breaker.md#ag004",
            self._name,
        )
