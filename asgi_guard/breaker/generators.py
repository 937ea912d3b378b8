"""Generators under a breaker: they pass everything on, and are settled when they end."""

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from asgi_guard.breaker.machine import Stamp

if TYPE_CHECKING:
    from asgi_guard.breaker.breaker import CircuitBreaker


def generator(
    breaker: "CircuitBreaker",
    function: Callable[..., Generator[Any, Any, Any]],
    admit: Callable[[], Stamp] | None = None,
) -> Callable[..., Generator[Any, Any, Any]]:
    """Return a generator function that passes everything on, and settles when that ends."""
    begin = admit or breaker.core.admit

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        stamp = begin()  # with the first item: what nobody iterates takes nothing
        try:
            items = function(*args, **kwargs)
            item = next(items)
            breaker.core.answered(stamp)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    items.close()
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the generator's
                    item = items.throw(error)
                else:
                    item = items.send(sent)
        except StopIteration as stop:
            breaker.end(stamp, None, stop.value)
            return stop.value
        except BaseException as error:
            breaker.end(stamp, error)
            raise

    return guarded


def async_generator(
    breaker: "CircuitBreaker",
    function: Callable[..., AsyncGenerator[Any, Any]],
    admit: Callable[[], Stamp] | None = None,
) -> Callable[..., AsyncGenerator[Any, Any]]:
    """Return an async generator function that does the same."""
    begin = admit or breaker.core.admit

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        stamp = begin()
        try:
            items = function(*args, **kwargs)
            item = await anext(items)
            breaker.core.answered(stamp)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    await items.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the generator's
                    item = await items.athrow(error)
                else:
                    item = await items.asend(sent)
        except StopAsyncIteration:
            breaker.end(stamp, None)
        except BaseException as error:
            breaker.end(stamp, error)
            raise

    return guarded
