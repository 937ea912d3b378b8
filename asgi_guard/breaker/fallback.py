"""Fallbacks: what a call comes to when it is refused."""

import inspect
from typing import Any, Final, Literal, TypeAlias, final, get_args

from asgi_guard._checks import is_async
from asgi_guard.errors import ConfigurationError

FallbackOn: TypeAlias = Literal["rejected", "failure"]
FALLBACKS_ON: tuple[str, ...] = get_args(FallbackOn)


@final
class _Nothing:
    def __repr__(self) -> str:
        return "no fallback"


NO_FALLBACK: Final[Any] = _Nothing()
"""What `fallback` is where there is none: None is a value like any other."""


class Fallback:
    """What stands in for the result of a call.

    Args:
        value: A value; or a function, plain or async, that is called with the arguments of the call
            and returns one.
        on: When: `"rejected"`, or on any `"failure"` as well.

    Attributes:
        served: How often it stood in.
        failed: How often its function failed.
    """

    __slots__ = ("_value", "failed", "on", "served", "waits")

    def __init__(self, value: object, on: FallbackOn) -> None:
        self._value = value
        self.on: FallbackOn = on
        self.waits: bool = is_async(value)
        self.served: int = 0
        self.failed: int = 0

    def check_plain(self, function: object) -> None:
        """Refuse a fallback that a plain function would have to await."""
        if self.waits:
            raise ConfigurationError(
                "CircuitBreaker.fallback",
                self._value,
                f"a value or a plain function, where it stands in for a plain one ({function!r})",
            )

    def serve(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what stands in."""
        try:
            value = self._value(*args, **kwargs) if callable(self._value) else self._value
        except BaseException:
            self.failed += 1
            raise
        self.served += 1
        return value

    async def serve_async(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what stands in, awaited where it must be."""
        if not callable(self._value):
            return self.serve(args, kwargs)
        try:
            value = self._value(*args, **kwargs)
            if inspect.isawaitable(value):
                value = await value
        except BaseException:
            self.failed += 1
            raise
        self.served += 1
        return value
