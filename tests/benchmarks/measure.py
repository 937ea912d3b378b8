"""Measuring: stacks take turns, so that whatever else the machine does hits all of them alike.

Garbage collection stays on, as in production, and what it costs is charged to whoever makes the
garbage. Before each slice everything is collected, and what the last one left to a timer has ended;
what was built for good is frozen, so that nobody pays for the others' objects.
"""

import gc
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.driver import Address, Cost, Run, addresses, exchange, pick, run, started
from tests.benchmarks.promises import BrokenPromiseError
from tests.benchmarks.stacks import LOOSE, TIGHT, Stack

_SEED = 2026
_LONGEST_SWEEP = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        rounds: How often each stack has its turn.
        requests: Requests of each turn.
        clients: Clients that send them, chosen at random.
    """

    rounds: int
    requests: int
    clients: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A stack that takes part.

    Attributes:
        stack: The stack.
        refuses: Whether its refusals are measured, rather than the requests it admits.
    """

    stack: Stack
    refuses: bool = False

    def build(self) -> ASGIApp:
        """Make the app that is measured."""
        return self.stack.build(TIGHT if self.refuses else LOOSE)


Costs = dict[str, list[Cost]]
"""What a request cost in each round, by the name of the stack."""


async def measure(
    entries: Sequence[Entry], effort: Effort, after: Callable[[int], None], run: Run = run
) -> Costs:
    """Measure all entries, in turns and in another order each time.

    Args:
        entries: Who takes part.
        effort: How much is measured.
        after: Is told the number of each round that is over.
        run: How requests are sent.

    Raises:
        BrokenPromiseError: A stack has answered with another status than its entry says.
    """
    async with AsyncExitStack() as until_the_end:
        apps = [
            (entry, await until_the_end.enter_async_context(started(entry.build())))
            for entry in entries
        ]
        return await _measure(apps, effort, after, run)


async def _measure(
    apps: list[tuple[Entry, ASGIApp]], effort: Effort, after: Callable[[int], None], run: Run
) -> Costs:
    clients = addresses(effort.clients)
    for _, app in apps:
        await run(app, clients)  # everybody is known from here on, and over a tight quota
    gc.collect()
    gc.freeze()
    costs: Costs = {entry.stack.name: [] for entry, _ in apps}
    shuffle = random.Random(_SEED).shuffle
    for number in range(effort.rounds):
        senders = pick(clients, effort.requests, seed=number)
        shuffle(apps)
        for entry, app in apps:
            await _check(entry, app, senders[0])
            settle()
            costs[entry.stack.name].append(await run(app, senders))
        after(number + 1)
    gc.unfreeze()
    return costs


async def _check(entry: Entry, app: ASGIApp, client: Address) -> None:
    expected = 429 if entry.refuses else 200
    status = (await exchange(app, client)).status
    if status != expected:
        raise BrokenPromiseError(f"{entry.stack.name} answers with {status}, not {expected}")


def settle() -> None:
    """Let everything end that a slice has left behind."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):  # limits sweeps its memory in one after a hit
            thread.join(_LONGEST_SWEEP)
    gc.collect()
