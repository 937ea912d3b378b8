"""One event loop's line to a Redis server, and what it has on lease."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from asgi_guard._clock import monotonic
from asgi_guard.errors import StoreUnavailable
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.stores.conversation import Conversation
from asgi_guard.rate_limit.stores.leases import Answer, Lease, Leases, Waiting, low_mark
from asgi_guard.rate_limit.stores.redis_client import Client, connect
from asgi_guard.rate_limit.stores.redis_counter import MICROSECOND
from asgi_guard.rate_limit.stores.redis_script import WIDE, decision, decisions, question, width_for
from asgi_guard.rate_limit.stores.refills import Refills
from asgi_guard.rate_limit.stores.store import Charge

_MOST_TOGETHER = 256  # a script must not keep the server from others for long
_PARTING = 0.5  # seconds for giving back at shutdown what was not used

Ask: TypeAlias = Callable[[bytes, Sequence[bytes], int, float], Awaitable[list[int]]]
"""Asks a question; see `Conversation.ask`."""


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
        self._refills = Refills(self._fill)

    async def aclose(self, *, close_client: bool) -> None:
        """Give back the leases, and close the connection; the client too, if told so."""
        await self.end_leases()
        await self._talk.aclose()
        if close_client:
            await self._client.aclose()

    async def end_leases(self) -> None:
        """Give back the units that are on lease."""
        await self._refills.aclose()
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

    def refill(self, lease: Lease, key: str, within: float) -> None:
        """Have a lease filled up that runs low; nobody waits for it."""
        lease.low = -1
        self._refills.want((lease, key, within))

    async def decide(self, charges: Sequence[Charge], within: float) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses."""
        width = width_for(counter for counter, _, _ in charges)
        asked = question([(counter.numbers, cost, 0) for counter, _, cost in charges], width)
        answer = self._talk.ask(asked, _names(charges), width * len(charges), within)
        return decisions(await answer, width)

    async def decide_with_leases(
        self, charges: Sequence[Charge], within: float
    ) -> Sequence[Decision]:
        """Do the same, with what is on lease as far as there is any, or is about to come."""
        began = monotonic()
        used = self._use(charges, began)
        missing = _missing(charges, used)
        coming = self.leases.book(missing, began + within) if missing else None
        if coming is not None:
            self.put_back(charges, used)  # who is cut off while it waits holds nothing
            await self._told(coming)
            within -= monotonic() - began
            used = self._use(charges, monotonic())
            missing = _missing(charges, used)
        if not missing:
            return _decisions(used)
        decided = await self._ask_for_more(charges, used, missing, within)
        if all(each.admitted for each in decided):
            return decided
        # Who asked for more at the same time may have got what was refused to this one.
        return self._use_all(charges) or decided

    async def _ask_for_more(
        self,
        charges: Sequence[Charge],
        used: Sequence[Lease | None],
        asked: Sequence[Charge],
        within: float,
    ) -> Sequence[Decision]:
        now = monotonic()
        extras = [
            self.leases.begin(counter.key, key, counter.lease - cost if cost else 0, now)
            for counter, key, cost in asked
        ]
        pairs = zip(asked, extras, strict=True)
        charged = [(counter.numbers, cost, extra) for (counter, _, cost), extra in pairs]
        size = WIDE * len(asked)
        asking = self._talk.ask(question(charged, WIDE), _names(asked), size, within)
        waiting: Waiting = []
        self.leases.expect(asked, extras, waiting, now + within)

        def settle(done: "asyncio.Future[list[int]]") -> None:
            self._settle(charges, used, asked, extras, waiting, done)

        # Who is cut off while it asks leaves the units that were taken beside its own to others.
        asking.add_done_callback(settle)
        await self._told(waiting)
        answers = _answers(asking.result())
        rest = (each._replace(remaining=each.remaining + more) for each, more in answers)
        return [next(rest) if lease is None else lease.decision(now) for lease in used]

    def _fill(self, lease: Lease, key: str, within: float) -> "asyncio.Future[list[int]] | None":
        """Ask for as many units as a worker may hold; they are taken in when they come."""
        counter, now = lease.counter, monotonic()
        lease.low = low_mark(counter)
        if not self.leases.is_low(key, lease):  # others were quicker, or it has been given back
            return None
        extra = self.leases.begin(counter.key, key, counter.lease - 1, now)
        if not extra:
            return None
        lease.low = -1
        asked = [(counter, key, 0)]
        told = question([(counter.numbers, 0, extra)], WIDE)
        asking = self._talk.ask(told, counter.names(key), WIDE, within)
        waiting: Waiting = []
        self.leases.expect(asked, [extra], waiting, now + within)
        asking.add_done_callback(partial(self._settle, (), (), asked, [extra], waiting))
        return asking

    def _use(self, charges: Sequence[Charge], now: float) -> Sequence[Lease | None]:
        return [self.leases.use(counter.key, key, cost, now) for counter, key, cost in charges]

    def _use_all(self, charges: Sequence[Charge]) -> Sequence[Decision]:
        """Take everything from leases; return no decisions if there is not enough."""
        used = self._use(charges, monotonic())
        if _missing(charges, used):
            self.put_back(charges, used)
            return []
        return _decisions(used)

    def put_back(self, charges: Sequence[Charge], used: Sequence[Lease | None]) -> None:
        """Put units back into the leases that charges have used; None for those of no lease."""
        for lease, (counter, key, cost) in zip(used, charges, strict=True):
            if lease is not None:
                self.leases.put_back(counter.key, key, lease, cost)

    def _settle(
        self,
        charges: Sequence[Charge],
        used: Sequence[Lease | None],
        asked: Sequence[Charge],
        extras: Sequence[int],
        waiting: Waiting,
        done: "asyncio.Future[list[int]]",
    ) -> None:
        """Take note of an answer, whether or not somebody still waits for it."""
        error = done.exception()
        answers = None if error is not None else _answers(done.result())
        if answers is None or not all(decided.admitted for decided, _ in answers):
            self.put_back(charges, used)  # nothing is charged for a refusal
        self.leases.take(asked, extras, answers, monotonic(), waiting)
        for each in waiting:
            if each.done():
                continue
            if error is not None:
                each.set_exception(error)
            else:
                each.set_result(None)

    def _told(self, waiting: Waiting) -> "asyncio.Future[None]":
        """Wait with others for an answer, and let them go on alone when this one is cut off."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(told)
        return told

    async def _undo(self, charge: Charge, age: int, within: float) -> None:
        counter, key, cost = charge
        width = width_for([counter])
        asked = question([(counter.numbers, cost, age)], width)
        await self._talk.ask(asked, counter.names(key), width, within)


def _missing(charges: Sequence[Charge], used: Sequence[Lease | None]) -> list[Charge]:
    return [charge for charge, lease in zip(charges, used, strict=True) if lease is None]


def _decisions(used: Sequence[Lease | None]) -> Sequence[Decision]:
    now = monotonic()
    return [lease.decision(now) for lease in used if lease is not None]


def _names(charges: Sequence[Charge]) -> list[bytes]:
    return [name for counter, key, _ in charges for name in counter.names(key)]


def _answers(numbers: Sequence[int]) -> list[Answer]:
    found = [numbers[at : at + WIDE] for at in range(0, len(numbers), WIDE)]
    return [(decision(*each), max(0, each[-1])) for each in found]
