"""What is to be awaited: functions that return something else are a mistake of whoever calls."""

import inspect
from collections.abc import Awaitable
from types import CoroutineType
from typing import TypeVar

from asgi_guard.callback import name_of
from asgi_guard.errors import shown

R = TypeVar("R")


class NothingToAwaitError(TypeError):
    """A function returned no awaitable where one is needed: it says nothing of a downstream."""


def to_await(function: object, result: Awaitable[R]) -> Awaitable[R]:
    """Return what a function returned, which is to be awaited.

    Args:
        function: The function, for the error.
        result: What it returned.

    Raises:
        NothingToAwaitError: It cannot be awaited.
    """
    if type(result) is CoroutineType or inspect.isawaitable(result):
        return result
    raise NothingToAwaitError(
        f"{name_of(function)} returned {shown(result)}; allowed: an awaitable, as of an async "
        "function; call a plain one through asyncio.to_thread"
    )
