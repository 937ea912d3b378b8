"""A bounded memory of what was asked for last."""

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """Values by key, the latest of them, in two generations: no timer, and nothing is sorted.

    Args:
        most: The most values kept, an even number; at least the latest half of them are there.
    """

    def __init__(self, most: int) -> None:
        self._most = most // 2
        self._young: dict[str, V] = {}
        self._old: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        """Return what was kept for a key, if it is still there; then it is among the latest."""
        found = self._young.get(key)
        if found is None:
            found = self._old.get(key)
            if found is not None:
                self.keep(key, found)
        return found

    def keep(self, key: str, value: V) -> None:
        """Keep a value for a key; when half of the room is full, forget the older half."""
        if len(self._young) >= self._most and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def __len__(self) -> int:
        """Return the number of values kept."""
        return len(self._young) + len(self._old)
