"""Presence: who is inside, so that what they use is closed after the last of them has left."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from asgi_guard.errors import shown
from asgi_guard.exchange import Exchange
from asgi_guard.shell import Admission, Layer

_LOG = logging.getLogger("asgi_guard")


class Presence(Layer):
    """Counts the requests inside, in each event loop.

    Args:
        aclose: Closes, in an event loop, what they use there.
    """

    def __init__(self, aclose: Callable[[], Awaitable[None]]) -> None:
        self._aclose = aclose
        self._inside: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = WeakKeyDictionary()
        self._closing: set[asyncio.Task[None]] = set()
        self._leaving = (self._leave,)
        self._is_retired = False

    def admit(self, exchange: Exchange) -> Admission:
        """Count the request until it ends; everybody is admitted."""
        loop = asyncio.get_running_loop()
        self._inside[loop] = self._inside.get(loop, 0) + 1
        exchange.at_end += self._leaving
        return None

    admit_socket = admit

    def retire(self) -> None:
        """Close what nobody uses any more, in each event loop once it is empty; from any thread."""
        self._is_retired = True
        for loop in list(self._inside):
            # Also in its own thread: whoever is about to come in is counted by then.
            with suppress(RuntimeError):  # a loop that is closed
                loop.call_soon_threadsafe(self._close_if_empty)

    async def aclose(self) -> None:
        """Close what is open in this event loop, and wait for what is being closed."""
        await self._aclose()
        loop = asyncio.get_running_loop()
        closing = [task for task in list(self._closing) if task.get_loop() is loop]
        if closing:
            await asyncio.wait(closing)

    def _leave(self, _: Exchange) -> None:
        with suppress(RuntimeError):  # a request that is dropped ends outside of its loop
            loop = asyncio.get_running_loop()
            self._inside[loop] -= 1
            if self._is_retired:
                self._close_if_empty()

    def _close_if_empty(self) -> None:
        loop = asyncio.get_running_loop()
        if not self._inside.get(loop):
            task = loop.create_task(self._close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self) -> None:
        try:
            await self._aclose()
        except Exception as error:  # noqa: BLE001 - there is nobody to tell
            _LOG.warning("rate limit: a store that is out of use was not closed: %s", shown(error))
