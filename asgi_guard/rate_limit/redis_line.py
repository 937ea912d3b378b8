"""One event loop's line to a Redis server, and what it has on lease."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeAlias

from asgi_guard._clock import monotonic
from asgi_guard.errors import StoreUnavailable
from asgi_guard.rate_limit.conversation import Conversation
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.leases import Lease, Leases
from asgi_guard.rate_limit.redis_client import Client, connect
from asgi_guard.rate_limit.redis_script import (
    LENDING,
    MICROSECOND,
    PLAIN,
    decision,
    decisions,
    question,
)
from asgi_guard.rate_limit.store import Charge

_MOST_TOGETHER = 256  # a script must not keep the server from others for long
_PARTING = 0.5  # seconds for giving back at shutdown what was not used

Ask: TypeAlias = Callable[[bytes, Sequence[bytes], int, float], Awaitable[list[int]]]
"""Asks a question; see `Conversation.ask`."""

_Answer: TypeAlias = tuple[Decision, int]
"""A decision, and the units that were taken beside it."""


class Line:
    """A conversation with a server about charges.

    Args:
        client: A client of the server, or of the servers.

    Attributes:
        ask: Asks a question; see `Conversation.ask`.
        leases: What is on lease.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.leases: Leases = Leases()
        self._talk = Conversation(lambda talk: connect(client, talk), _MOST_TOGETHER)
        self.ask: Ask = self._talk.ask

    async def aclose(self, *, close_client: bool) -> None:
        """Give back the leases, and close the connection; the client too, if told so."""
        await self.end_leases()
        await self._talk.aclose()
        if close_client:
            await self._client.aclose()

    async def end_leases(self) -> None:
        """Give back the units that are on lease."""
        back = self.leases.give_back(monotonic())
        with suppress(StoreUnavailable):  # whose units are lost then, until they fade
            for start in range(0, len(back), _MOST_TOGETHER):
                together = back[start : start + _MOST_TOGETHER]
                await asyncio.gather(*(self._undo(each, 0, _PARTING) for each in together))

    async def give_back(self, charges: Sequence[Charge], age: float, within: float) -> None:
        """Undo charges, each by itself."""
        age = int(age / MICROSECOND)
        back = [(counter, key, -cost) for counter, key, cost in charges]
        await asyncio.gather(*(self._undo(each, age, within) for each in back))

    async def decide(self, charges: Sequence[Charge], within: float) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses."""
        asked = question([(counter.numbers, cost, 0) for counter, _, cost in charges], PLAIN)
        keys = [counter.name(key) for counter, key, _ in charges]
        return decisions(await self._talk.ask(asked, keys, PLAIN * len(keys), within))

    async def decide_with_leases(
        self, charges: Sequence[Charge], within: float
    ) -> Sequence[Decision]:
        """Do the same, with what is on lease as far as there is any."""
        now = monotonic()
        used = [self.leases.use(counter.key, key, cost, now) for counter, key, cost in charges]
        asked = [charge for charge, lease in zip(charges, used, strict=True) if lease is None]
        if not asked:
            return [lease.decision(now) for lease in used if lease is not None]
        extras = [self._extra(charge) for charge in asked]
        answers: list[_Answer] | None = None
        try:
            answers = await self._ask_for_more(asked, extras, within)
        finally:
            if answers is None or not all(decided.admitted for decided, _ in answers):
                for lease, (_, _, cost) in zip(used, charges, strict=True):
                    if lease is not None:
                        lease.units += cost  # nothing is charged for a refusal
            self._take(asked, extras, answers)
        rest = (each._replace(remaining=each.remaining + taken) for each, taken in answers)
        return [next(rest) if lease is None else lease.decision(now) for lease in used]

    async def _ask_for_more(
        self, charges: Sequence[Charge], extras: Sequence[int], within: float
    ) -> list[_Answer]:
        pairs = zip(charges, extras, strict=True)
        asked = question(
            [(counter.numbers, cost, extra) for (counter, _, cost), extra in pairs], LENDING
        )
        keys = [counter.name(key) for counter, key, _ in charges]
        found = await self._talk.ask(asked, keys, LENDING * len(keys), within)
        return [
            (decision(found[at], found[at + 1], found[at + 2]), found[at + 3])
            for at in range(0, len(found), LENDING)
        ]

    async def _undo(self, charge: Charge, age: int, within: float) -> None:
        counter, key, cost = charge
        asked = question([(counter.numbers, cost, age)], PLAIN)
        await self._talk.ask(asked, [counter.name(key)], PLAIN, within)

    def _extra(self, charge: Charge) -> int:
        """Return how many units to take beside what is charged."""
        counter, key, cost = charge
        return self.leases.begin(counter.key, key, counter.lease - cost, monotonic())

    def _take(
        self, asked: Sequence[Charge], extras: Sequence[int], answers: "Sequence[_Answer] | None"
    ) -> None:
        """Keep what was taken, and let others ask for what was not."""
        now = monotonic()
        for place, (counter, key, _) in enumerate(asked):
            if extras[place]:
                lease = None
                if answers is not None:
                    decided, taken = answers[place]
                    until = now + (decided.reset if counter.window is None else counter.window)
                    reset_at = now + decided.reset
                    lease = Lease(counter, taken, until, decided.remaining, reset_at)
                self.leases.end(counter.key, key, lease, now)
