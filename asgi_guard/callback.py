"""Callbacks: functions of the scope that users write, plain or async, and what they may answer."""

import inspect
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from asgi_guard._asgi import Scope
from asgi_guard._checks import is_async
from asgi_guard.errors import shown

T = TypeVar("T")


class Callback(Generic[T]):
    """A function of the scope, whose answers are checked: a mistake in it must not look like ours.

    Args:
        role: What it is, such as `key function`.
        function: The function, plain or async.
        check: Takes what to call the function, and an answer of it; returns the answer, or raises
            `TypeError` or `ValueError`.
        is_ours: Whether it is plain, and needs no check; default False.

    Attributes:
        waits: Whether it must be awaited.
        plain: What to call where nothing need be awaited.
    """

    def __init__(
        self,
        role: str,
        function: Callable[[Scope], Any],
        check: Callable[[str, object], T],
        *,
        is_ours: bool = False,
    ) -> None:
        self.asked: str = f"the {role} {name_of(function)}"
        self.waits: bool = is_async(function)
        self._function = function
        self._check = check
        self.plain: Callable[[Scope], T] = function if is_ours else self._checked()

    async def ask(self, scope: Scope) -> T:
        """Return its answer, checked; also where it has to be awaited."""
        if not self.waits:
            return self.plain(scope)
        return self._check(self.asked, await self._function(scope))

    def _checked(self) -> Callable[[Scope], T]:
        function, check, asked = self._function, self._check, self.asked

        def checked(scope: Scope) -> T:
            return check(asked, function(scope))

        return checked


def name_of(function: object) -> str:
    """Return what an error calls a function: its name, with that of its module."""
    name = getattr(function, "__qualname__", None)
    if name is None:
        return repr(function)
    return f"{getattr(function, '__module__', None) or 'unknown'}.{name}"


def wrong_answer(asked: str, answer: object, allowed: str) -> TypeError:
    """Return the error for an answer of the wrong type."""
    if inspect.iscoroutine(answer):
        answer.close()  # it will not be awaited, and would say so once more
        allowed += "; a function that has to be awaited must be an `async def`"
    return TypeError(f"{asked} returned {shown(answer)}; allowed: {allowed}")
