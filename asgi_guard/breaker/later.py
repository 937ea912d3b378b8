"""What is awaited, or entered instead: objects of clients that can be both, such as requests."""

from collections.abc import Awaitable, Coroutine, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from asgi_guard.breaker.awaited import call_in_time, within
from asgi_guard.breaker.machine import Stamp
from asgi_guard.breaker.states import Outcome

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker


def later(breaker: "CircuitBreaker", stamp: Stamp, result: Awaitable[Any]) -> Awaitable[Any]:
    """Return what stands for an object that is no coroutine, or that is one and more."""
    if not hasattr(type(result), "__aenter__"):
        return Later(breaker, stamp, result)
    kind = EnteredCoroutine if isinstance(result, Coroutine) else Entered
    return kind(breaker, stamp, result)


class Later(Awaitable[Any]):
    """Stands for an object that is awaited, and has its attributes.

    The call is settled once: what is done with it first tells.

    Args:
        breaker: The breaker.
        stamp: What the call was admitted with.
        inner: The object.
    """

    __slots__ = ("_breaker", "_inner", "_is_used", "_stamp")

    def __init__(self, breaker: "CircuitBreaker", stamp: Stamp, inner: Any) -> None:
        self._breaker = breaker
        self._stamp = stamp
        self._inner = inner
        self._is_used = False

    def __getattr__(self, name: str) -> Any:
        """Return what the object has."""
        return getattr(self._inner, name)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Await the object, and settle the call."""
        awaited: Awaitable[Any] = self._inner
        if self._use():
            awaited = call_in_time(self._breaker, self._stamp, lambda: self._inner)
        return awaited.__await__()

    def _use(self) -> bool:
        """Use the stamp; return whether nobody has."""
        was_used, self._is_used = self._is_used, True
        return not was_used


class Entered(Later):
    """Stands for one that may be entered instead: then the call lasts to the end of the block.

    What it takes to enter it may take no longer than `call_timeout`, and is slow or not; an error
    that ends the block is that of the call.
    """

    __slots__ = ("_is_open", "_result")

    def __init__(self, breaker: "CircuitBreaker", stamp: Stamp, inner: Any) -> None:
        super().__init__(breaker, stamp, inner)
        self._is_open = False  # and to be settled when it is left
        self._result: object = None

    async def __aenter__(self) -> Any:
        """Enter the object."""
        if not self._use():
            return await self._inner.__aenter__()
        breaker, stamp = self._breaker, self._stamp
        try:
            entered, in_time = await within(breaker, self._inner.__aenter__())
        except BaseException as error:
            breaker.end(stamp, error)
            raise
        if in_time:
            breaker.core.answered(stamp)
            self._is_open, self._result = True, entered
        else:
            breaker.settle(stamp, Outcome.FAILURE)
        return entered

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Leave it, and settle the call."""
        try:
            swallowed: bool | None = await self._inner.__aexit__(kind, error, traceback)
        except BaseException as failed:
            self._end(failed)
            raise
        self._end(None if swallowed else error)
        return swallowed

    def _end(self, error: BaseException | None) -> None:
        result, self._result = self._result, None
        if self._is_open:
            self._is_open = False
            self._breaker.end(self._stamp, error, None if error else result)


class EnteredCoroutine(Entered, Coroutine[Any, Any, Any]):
    """Stands for one that is a coroutine besides, of which tasks can be made."""

    __slots__ = ("_steps",)

    def __init__(self, breaker: "CircuitBreaker", stamp: Stamp, inner: Any) -> None:
        super().__init__(breaker, stamp, inner)
        self._steps: Generator[Any, Any, Any] | None = None

    def send(self, value: Any) -> Any:
        """Go on."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """Raise an error where it has come to."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """End it; what was never begun says nothing."""
        if self._steps is not None:
            self._steps.close()
        elif self._use():
            self._breaker.settle(self._stamp, Outcome.IGNORED)
        self._inner.close()

    def _begun(self) -> Generator[Any, Any, Any]:
        if self._steps is None:
            self._steps = self.__await__()
        return self._steps
