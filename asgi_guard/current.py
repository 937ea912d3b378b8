"""The request that is being handled, for code inside the app that is not told which it is.

A context variable is set for it only once something wants it, so that others pay nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from contextvars import ContextVar, Token
from inspect import CORO_CREATED, getcoroutinestate
from typing import Any
from weakref import WeakKeyDictionary

from asgi_guard.escaped import read_along
from asgi_guard.exchange import Exchange

_HANDLING: ContextVar["Handling | None"] = ContextVar("asgi_guard", default=None)
_LOOK_UP = 1.0  # seconds after which a thread sees whether the loop it waits for still runs


class Handling:
    """A request while the app handles it, and after that for whoever goes on in its context.

    Args:
        exchange: The request.
        loop: The event loop it is handled in.

    Attributes:
        exchange: The request, as the innermost guard round the code sees it.
        loop: The event loop it is handled in.
        fields: The header fields that the guard itself adds.
        notes: What others keep for the time of the request, each under a key of its own.
    """

    __slots__ = ("_token", "exchange", "fields", "loop", "notes")

    def __init__(self, exchange: Exchange, loop: asyncio.AbstractEventLoop) -> None:
        self.exchange: Exchange = exchange
        self.loop: asyncio.AbstractEventLoop = loop
        self.fields: tuple[tuple[bytes, bytes], ...] = exchange.fields
        self.notes: dict[Any, Any] = {}
        self._token: Token[Handling | None] = _HANDLING.set(self)

    def end(self, exchange: Exchange) -> None:
        """Take note that the app has ended."""
        # What would hold the exchange: itself, and errors by their frames.
        exchange.at_end, exchange.refused = (), ()
        with suppress(ValueError):  # a request that is dropped may end in another context
            _HANDLING.reset(self._token)

    @property
    def is_in_this_thread(self) -> bool:
        """Whether its event loop is the one that runs here."""
        return running_loop() is self.loop

    async def await_there(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in its event loop, and await that in another."""
        await asyncio.wrap_future(self._submit(work))

    def wait_there(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something in its event loop, and block this thread meanwhile.

        Raises:
            RuntimeError: The loop has ended, so nobody would ever do it.
        """
        future = self._submit(work)
        while not wait([future], _LOOK_UP).done:
            if not self.loop.is_running():
                future.cancel()
                if getcoroutinestate(work) == CORO_CREATED:
                    work.close()
                raise RuntimeError("the event loop of this request has stopped")
        future.result()

    def _submit(self, work: Coroutine[Any, Any, None]) -> "Future[None]":
        try:
            return asyncio.run_coroutine_threadsafe(work, self.loop)
        except RuntimeError as error:
            work.close()
            raise RuntimeError("the event loop of this request is closed") from error


class Current:
    """Which request is being handled in this context.

    Attributes:
        is_wanted: Whether anybody asks; shells tell of no request before.
        has_open: Whether there may be something to close when an app shuts down.
    """

    def __init__(self) -> None:
        self.is_wanted: bool = False
        self.has_open: bool = False
        self._closes: WeakKeyDictionary[
            asyncio.AbstractEventLoop, set[Callable[[], Awaitable[None]]]
        ] = WeakKeyDictionary()

    @property
    def handling(self) -> Handling | None:
        """The request; None outside of any, and where its context was not passed on."""
        return _HANDLING.get()

    def enter(self, exchange: Exchange) -> None:
        """Take note that the app is about to handle a request, until that ends."""
        if exchange.scope["type"] == "websocket":
            read_along(exchange)
        loop = running_loop()
        if loop is not None:  # whoever drives apps by hand, without one, has nobody who asks
            exchange.at_end += (Handling(exchange, loop).end,)

    def close_later(self, aclose: Callable[[], Awaitable[None]]) -> None:
        """Close something when an app of this event loop shuts down."""
        self._closes.setdefault(asyncio.get_running_loop(), set()).add(aclose)

    async def aclose(self) -> None:
        """Close what is to be closed in this event loop."""
        for aclose in self._closes.pop(asyncio.get_running_loop(), ()):
            await aclose()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


CURRENT = Current()
"""For all shells of this process."""
