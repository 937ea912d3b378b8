"""Answers: results with their age, and the last good ones for when there is nothing newer."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from asgi_guard._clock import Clock

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Answer(Generic[R]):
    """What `Downstream.fetch()` found.

    Attributes:
        value: The result: of this call, of the last one that succeeded, or the fallback.
        age: Seconds since it was fetched: default 0, for that of this call; None for the fallback.
        error: Why it is not of this call: what that ended with, or `FailedResult` where it returned
            what is a failure; default None: it is.
    """

    value: R
    age: float | None = 0.0
    error: Exception | None = None

    @property
    def is_stale(self) -> bool:
        """Whether it comes from somewhere else than this call."""
        return self.error is not None


class LastResults:
    """The last good results, by key; safe to share between threads.

    Args:
        most: Keys, from 0 up; the one that was fetched least recently makes room.
        keep_for: Seconds after which a result is too old for anybody; None: it never is.
        clock: Returns seconds that never run backwards.
    """

    def __init__(self, most: int, keep_for: float | None, clock: Clock) -> None:
        self._most = most
        self._keep_for = keep_for
        self._clock = clock
        self._lock = threading.Lock()
        self._results: OrderedDict[Hashable, tuple[Any, float]] = OrderedDict()

    def keep(self, key: Hashable, value: object) -> None:
        """Keep the result of a call that succeeded."""
        with self._lock:
            self._results[key] = (value, self._clock())
            self._results.move_to_end(key)
            if len(self._results) > self._most:
                self._results.popitem(last=False)

    def find(self, key: Hashable, error: Exception) -> Answer[Any] | None:
        """Return the result of a key for a call that ended with this error; None without one."""
        with self._lock:
            kept = self._results.get(key)
            if kept is None:
                return None
            value, since = kept
            age = max(0.0, self._clock() - since)
            if self._keep_for is not None and age > self._keep_for:
                del self._results[key]
                return None
            self._results.move_to_end(key)
        return Answer(value, age, error)
