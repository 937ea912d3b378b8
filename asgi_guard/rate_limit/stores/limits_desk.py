"""Where one event loop asks its storage of `limits`."""

import asyncio
import time
from collections.abc import Sequence

from limits.aio.storage import Storage

from asgi_guard.errors import StoreUnavailable
from asgi_guard.rate_limit.decision import Decided, Decision
from asgi_guard.rate_limit.stores.limits_storages import close_storage
from asgi_guard.rate_limit.stores.limits_windows import Seen
from asgi_guard.rate_limit.stores.store import Charge

_PATIENCE = 10.0  # seconds; longer than clients take to find out that they cannot connect


class Desk:
    """Where one event loop asks its storage.

    Clients are never cancelled while they connect: some lose the place that the connection had in
    their pool. Who stops waiting leaves a task behind, which ends when its client gives up.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._tasks: set[asyncio.Task[list[Decision]]] = set()

    async def ask(self, charges: Sequence[Charge], within: float) -> list[Decision]:
        """Charge all counters, or none of them if one refuses.

        Args:
            charges: What to charge.
            within: Seconds to wait for the answer.

        Raises:
            StoreUnavailable: There was no answer within that time, or an error instead.
        """
        task = asyncio.get_running_loop().create_task(self._decide(charges))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait((task,), timeout=within)
        if not done:
            raise StoreUnavailable(f"no answer within {within:g} s")
        if task.cancelled():
            raise StoreUnavailable("the store is closed")
        error = task.exception()
        if isinstance(error, Exception):  # storages raise what their clients raise
            raise StoreUnavailable(repr(error)) from error
        return task.result()

    async def aclose(self, *, close: bool) -> None:
        """Tell who still waits that there is no answer, and close the storage if asked to."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if close:
            await close_storage(self._storage)

    def _forget(self, task: asyncio.Task[list[Decision]]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # so that nobody complains where nobody waits for it

    async def _decide(self, charges: Sequence[Charge]) -> list[Decision]:
        async with asyncio.timeout(_PATIENCE):
            decided = await _decide(self._storage, charges)
        return [Decision(*each) for each in decided]


async def _decide(storage: Storage, charges: Sequence[Charge]) -> list[Decided]:
    named = [(window, window.key(key), cost) for window, key, cost in charges]
    if len(named) == 1:
        seen: list[Seen] = [await named[0][0].look(storage, named[0][1])]
    else:
        seen = await asyncio.gather(*(window.look(storage, key) for window, key, _ in named))
    decided = [each.decide(cost) for each, (_, _, cost) in zip(seen, named, strict=True)]
    if not all(admitted for admitted, *_ in decided):
        return _uncharged(seen, decided)
    charged: list[tuple[int, float]] = []
    # What cannot be taken back comes last, and before it the quotas that are the first to refuse.
    order = sorted(
        (place for place, (_, _, cost) in enumerate(named) if cost),
        key=lambda place: (not named[place][0].can_take_back, named[place][0].period),
    )
    for place in order:
        window, key, cost = named[place]
        at = time.time()
        answer = await window.charge(storage, key, cost, seen[place])
        if answer is None:
            await _take_back(storage, named, charged)
            decided[place] = _refused(await window.look(storage, key), cost, window.step)
            return _uncharged(seen, decided)
        decided[place] = answer
        charged.append((place, at))
    return decided


async def _take_back(
    storage: Storage, named: Sequence[Charge], charged: Sequence[tuple[int, float]]
) -> None:
    for place, at in charged:
        window, key, cost = named[place]
        await window.take_back(storage, key, cost, at)


def _uncharged(seen: Sequence[Seen], decided: Sequence[Decided]) -> list[Decided]:
    return [
        each.decide(0) if answer[0] else answer for each, answer in zip(seen, decided, strict=True)
    ]


def _refused(seen: Seen, cost: int, step: float) -> Decided:
    """Return the refusal of who came too late, also where there is room again."""
    admitted, remaining, reset, wait = seen.decide(cost)
    return False, remaining, reset, step if admitted else wait
