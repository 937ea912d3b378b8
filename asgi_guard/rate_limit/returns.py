"""Returns: units on their way back to a store, in the background."""

import asyncio
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from asgi_guard.current import running_loop
from asgi_guard.errors import StoreUnavailable
from asgi_guard.rate_limit.stores.store import Charge, GivesBack

_MOST = 1000


class Returns:
    """What is given back to a store without anybody waiting for it.

    At most 1,000 returns are on their way in each event loop: what comes on top, and what the store
    does not answer, stays charged until it fades.

    Args:
        store: The store.
    """

    def __init__(self, store: GivesBack) -> None:
        self._store = store
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, set[asyncio.Task[None]]] = (
            WeakKeyDictionary()
        )

    def begin(self, charges: Sequence[Charge], age: float, within: float) -> None:
        """Give back charges, which are as old as that, within some time; both in seconds."""
        loop = running_loop()
        if loop is None or not charges:  # a request may be dropped after its loop has ended
            return
        tasks = self._tasks.setdefault(loop, set())
        if len(tasks) < _MOST:
            task = loop.create_task(self._give_back(charges, age, within))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def aclose(self) -> None:
        """Wait for what is on its way in this event loop; each takes no longer than told."""
        tasks = self._tasks.pop(asyncio.get_running_loop(), None)
        if tasks:
            await asyncio.wait(tasks)

    async def _give_back(self, charges: Sequence[Charge], age: float, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self._store.give_back(charges, age=age, within=within)
        except (StoreUnavailable, TimeoutError):
            return  # the units are lost then, until they fade
