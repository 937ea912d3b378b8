"""Bodies as a client decodes them: what cannot be decoded is known there, after it was read."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from asgi_guard.downstream.http_calls import HttpCall


def decoding(
    iterate: Callable[[int | None], Iterator[bytes]],
    call: HttpCall[Any],
    undecodable: type[Exception],
) -> Callable[[int | None], Iterator[bytes]]:
    """Return a method that iterates over a body, and tells the call how its decoding goes.

    Args:
        iterate: The client's own.
        call: The call.
        undecodable: What that raises for a body that cannot be decoded.
    """

    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        call.decoding()
        try:
            for chunk in iterate(chunk_size):
                call.decoded()
                yield chunk
                call.decoding()
        except undecodable:
            call.told_nothing()
            raise
        finally:
            call.decoded()
        call.ended()  # where nobody reads on, the response is let go later

    return iter_bytes


def async_decoding(
    iterate: Callable[[int | None], AsyncIterator[bytes]],
    call: HttpCall[Any],
    undecodable: type[Exception],
) -> Callable[[int | None], AsyncIterator[bytes]]:
    """Return an async method that does the same.

    Args:
        iterate: The client's own.
        call: The call.
        undecodable: What that raises for a body that cannot be decoded.
    """

    async def aiter_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        call.decoding()
        try:
            async for chunk in iterate(chunk_size):
                call.decoded()
                yield chunk
                call.decoding()
        except undecodable:
            call.told_nothing()
            raise
        finally:
            call.decoded()
        call.ended()

    return aiter_bytes
