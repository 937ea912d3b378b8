"""A thread with an event loop of its own, for what no call may wait for."""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

_PARTING = 2.0  # seconds
_AGAIN = 0.05


class Speaker:
    """Runs an async function in a thread, until it is stopped.

    Args:
        serve: The function; it takes an event that is set by `wake`, and ends by cancellation.
        name: What the thread is called.
    """

    def __init__(self, serve: Callable[[asyncio.Event], Awaitable[None]], name: str) -> None:
        self._serve = serve
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        atexit.register(self.stop)

    def wake(self) -> None:
        """Set the event; from any thread, and at once."""
        self._call(self._ready.set)

    def stop(self) -> None:
        """End it, and wait for that."""
        atexit.unregister(self.stop)
        self._call(self._stopping.set)
        self._thread.join(_PARTING)

    def _call(self, function: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there any more
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._until_stopped())

    async def _until_stopped(self) -> None:
        serving = asyncio.ensure_future(self._serve(self._ready))
        await self._stopping.wait()
        while not serving.done():
            serving.cancel()  # again, where it is lost: a task group that fails just then loses it
            await asyncio.wait([serving], timeout=_AGAIN)
