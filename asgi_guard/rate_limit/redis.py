"""The Redis store: one decision for all workers, in one round trip for any number of rules.

The decision is a script on the server, by the server's clock. Requests that arrive while an answer
is on its way travel together with the next question, over one connection for each event loop.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha1
from importlib.resources import files
from typing import Any, ClassVar, TypeAlias
from weakref import WeakKeyDictionary

from asgi_guard._checks import check_name
from asgi_guard._clock import monotonic
from asgi_guard.errors import ConfigurationError, StoreUnavailable
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.conversation import Conversation
from asgi_guard.rate_limit.decision import BanBegun, Banned, Decision
from asgi_guard.rate_limit.leases import Answer, Lease, Leases
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.redis_client import Client, connector, direct, is_unknown_script
from asgi_guard.rate_limit.redis_counter import MICROSECOND, RedisCounter, redis_counter
from asgi_guard.rate_limit.store import Charge

_SCRIPT = files("asgi_guard.rate_limit").joinpath("redis.lua").read_text("utf-8")
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_ANSWER = 5  # numbers for each charge
_BAN_BEGUN = -2
_MOST_TOGETHER = 256  # a script must not keep the server from others for long
_PATIENCE = 1.0  # seconds, where nobody says how long to wait
_PARTING = 0.5  # seconds for giving back at shutdown what was not used


class RedisStore:
    """Counters in Redis or Valkey, shared by all who use the same server and prefix.

    It connects when it is first asked, and once for each event loop. The server needs version 5 or
    newer. On a cluster all counters of a store live in one slot, since they are decided in one
    step; stores of other prefixes live in others.

    Args:
        target: A URL: `redis://`, `rediss://` and `unix://` as redis-py reads them,
            `redis+cluster://` with a node of a cluster, `redis+sentinel://host:port,host:port/name`
            with the name of the service; or a client of redis.asyncio, of one event loop, which
            stays open.
        prefix: What the names of its keys begin with: printable ASCII without braces; default
            `asgi_guard`.

    Raises:
        ConfigurationError: The target is neither, or the prefix is wrong.
    """

    grants_leases: ClassVar[bool] = True
    """Workers may take several units of a key at once."""

    keeps_bans: ClassVar[bool] = True
    """Keys may be banned after repeated refusals."""

    def __init__(self, target: "str | Client", *, prefix: str = "asgi_guard") -> None:
        check_name("RedisStore.prefix", prefix)
        if "{" in prefix or "}" in prefix:
            raise ConfigurationError("RedisStore.prefix", prefix, "a name without braces")
        self._tag = f"{{{prefix}}}:"
        self._connect = connector(target)
        self._owns = isinstance(target, str)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()
        # The loop that asked last and its line; one attribute, for loops in several threads.
        self._last: tuple[asyncio.AbstractEventLoop | None, Any] = (None, None)

    def counter(
        self,
        rule: str,
        quota: Quota,
        algorithm: Algorithm = "sliding-window",
        *,
        lease: int = 0,
        workers: int = 1,
        ban: Ban | None = None,
    ) -> RedisCounter:
        """Return the counter of a rule; see `Store.counter`.

        Args:
            rule: As there.
            quota: As there.
            algorithm: As there.
            lease: Units that a worker takes at once, to decide by itself until they are used;
                default 0. It never takes more than its part of half of what remains.
            workers: Processes that share the store; default 1.
            ban: What becomes of keys that are refused again and again; default None: nothing. It
                belongs to the name of the rule, whatever its quota is.
        """
        return redis_counter(
            self._tag, rule, quota, algorithm, lease=lease, workers=workers, ban=ban
        )

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses; see `Store.hit`."""
        if not charges:
            return []
        loop, line = self._last
        if loop is not asyncio.get_running_loop():
            line = self._line()
        patience = _PATIENCE if within is None else within
        for counter, _, _ in charges:
            if counter.lease:
                leased: Sequence[Decision] = await line.decide_with_leases(charges, patience)
                return leased
        decisions: Sequence[Decision] = await line.ask((charges, None), patience)
        return decisions

    async def give_back(
        self, charges: Sequence[Charge], *, age: float, within: float | None = None
    ) -> None:
        """Undo charges; see `GivesBack.give_back`."""
        await self._line().give_back(charges, age, 1.0 if within is None else within)

    async def aclose(self) -> None:
        """Close the connection of this event loop."""
        loop = asyncio.get_running_loop()
        line = self._lines.pop(loop, None)
        if self._last[0] is loop:
            self._last = (None, self._last[1])
        if line is not None:
            await line.aclose(close_client=self._owns)

    async def end_leases(self) -> None:
        """Give back the units that this event loop has on lease, and go on."""
        line = self._lines.get(asyncio.get_running_loop())
        if line is not None:
            await line.end_leases()

    def _line(self) -> "_Line":
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line(self._connect())
        self._last = (loop, line)
        return line


class _Line:
    """One event loop's line to the server, and what it has on lease."""

    def __init__(self, client: Client) -> None:
        self._whole = client
        self._client = direct(client)
        self._leases = Leases()
        self._talk: Conversation[_Question, list[Any]] = Conversation(self._ask, _MOST_TOGETHER)
        self.ask = self._talk.ask

    async def aclose(self, *, close_client: bool) -> None:
        await self.end_leases()
        await self._talk.aclose()
        if self._client is not self._whole:
            await self._client.aclose()
        if close_client:
            await self._whole.aclose()

    async def end_leases(self) -> None:
        back = self._leases.give_back(monotonic())
        with suppress(StoreUnavailable):  # whose units are lost then, until they fade
            for start in range(0, len(back), _MOST_TOGETHER):
                await self._talk.ask((back[start : start + _MOST_TOGETHER], None), _PARTING)

    async def give_back(self, charges: Sequence[Charge], age: float, within: float) -> None:
        ages = [int(age / MICROSECOND)]
        back = [(counter, key, -cost) for counter, key, cost in charges]
        await asyncio.gather(*(self._talk.ask(([each], ages), within) for each in back))

    async def decide_with_leases(
        self, charges: Sequence[Charge], within: float
    ) -> Sequence[Decision]:
        now = monotonic()
        used = [self._leases.use(counter.key, key, cost, now) for counter, key, cost in charges]
        asked = [charge for charge, lease in zip(charges, used, strict=True) if lease is None]
        if not asked:
            return [lease.decision(now) for lease in used if lease is not None]
        extras = [self._extra(charge) for charge in asked]
        asking = self._talk.begin((asked, extras), within)
        # Who is cut off while it asks leaves the units that were taken beside its own to others.
        asking.add_done_callback(lambda done: self._settle(charges, used, asked, extras, done))
        await asyncio.wait((asking,))
        rest = (each._replace(remaining=each.remaining + more) for each, more in asking.result())
        return [next(rest) if lease is None else lease.decision(now) for lease in used]

    def _settle(
        self,
        charges: Sequence[Charge],
        used: Sequence[Lease | None],
        asked: Sequence[Charge],
        extras: Sequence[int],
        done: "asyncio.Future[list[Answer]]",
    ) -> None:
        """Take note of an answer, whether or not somebody still waits for it."""
        has_none = done.cancelled() or done.exception() is not None
        answers = None if has_none else done.result()
        if answers is None or not all(decision.admitted for decision, _ in answers):
            for lease, (_, _, cost) in zip(used, charges, strict=True):
                if lease is not None:
                    lease.units += cost  # nothing is charged for a refusal
        self._leases.take(asked, extras, answers, monotonic())

    def _extra(self, charge: Charge) -> int:
        """Return how many units to take beside what is charged."""
        counter, key, cost = charge
        return self._leases.begin(counter.key, key, counter.lease - cost, monotonic())

    async def _ask(self, questions: "Sequence[_Question]") -> list[list[Any]]:
        keys: list[bytes] = []
        asked: list[bytes] = []
        for charges, extras in questions:
            asked.append(b"%d" % len(charges))
            for place, (counter, key, cost) in enumerate(charges):
                name = key.encode("utf-8", "surrogatepass")
                keys.append(counter.key_bytes + name)
                if counter.bans:
                    keys.append(counter.bans + name)
                if extras is None and cost == 1:  # nearly always
                    asked.append(counter.numbers_of_one)
                else:
                    extra = 0 if extras is None else extras[place]
                    asked.append(b"%s %d %d" % (counter.numbers, cost, extra))
        numbers = b" ".join(asked)
        try:
            answer = await self._client.evalsha(_SHA, len(keys), *keys, numbers)
        except Exception as error:
            if not is_unknown_script(error):  # to a server that has been restarted, or a new one
                raise
            answer = await self._client.eval(_SCRIPT, len(keys), *keys, numbers)
        return _read(list(map(int, answer.split())), questions)


_Question: TypeAlias = tuple[Sequence[Charge], Sequence[int] | None]
"""Charges, and the units to take beside each where a lease is wanted; or the age, in microseconds,
of what is given back."""


def _read(numbers: Sequence[int], questions: Sequence[_Question]) -> list[list[Any]]:
    """Turn the script's numbers into answers, of which a crowd has very many."""
    answers: list[list[Any]] = []
    at = 0
    for charges, extras in questions:
        found: list[Any] = []
        for _ in charges:
            admitted, retry = numbers[at], numbers[at + 3]
            kind = Decision if admitted >= 0 else BanBegun if admitted == _BAN_BEGUN else Banned
            decision = kind(
                admitted == 1,
                numbers[at + 1],
                numbers[at + 2] * MICROSECOND,
                None if retry < 0 else retry * MICROSECOND,
            )
            found.append(decision if extras is None else (decision, numbers[at + 4]))
            at += _ANSWER
        answers.append(found)
    return answers
