"""The Redis store: one decision for all workers, in one round trip for any number of rules.

The decision is a script on the server, by the server's clock. Requests that arrive while an answer
is on its way travel together with the next question, over one connection for each event loop.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from itertools import islice
from typing import TypeAlias
from weakref import WeakKeyDictionary

from redis.exceptions import NoScriptError

from asgi_guard._checks import check_name
from asgi_guard._clock import monotonic
from asgi_guard.errors import ConfigurationError, StoreUnavailable
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.conversation import Conversation
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.leases import Lease, Leases
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.redis_client import Client, connector
from asgi_guard.rate_limit.store import Charge

_SCRIPT = files("asgi_guard.rate_limit").joinpath("redis.lua").read_text("utf-8")
_SHA = sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()
_NUMBERS: dict[str, int] = {"sliding-window": 1, "fixed-window": 2, "token-bucket": 3}
_MICROSECOND = 1e-6
_MOST_TOGETHER = 64  # a script must not keep the server from others for long
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

    def __init__(self, target: "str | Client", *, prefix: str = "asgi_guard") -> None:
        check_name("RedisStore.prefix", prefix)
        if "{" in prefix or "}" in prefix:
            raise ConfigurationError("RedisStore.prefix", prefix, "a name without braces")
        self._tag = f"{{{prefix}}}:"
        self._connect = connector(target)
        self._owns = isinstance(target, str)
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    def counter(
        self,
        rule: str,
        quota: Quota,
        algorithm: Algorithm = "sliding-window",
        *,
        lease: int = 0,
        workers: int = 1,
    ) -> "RedisCounter":
        """Return the counter of a rule; see `Store.counter`.

        Args:
            rule: As there.
            quota: As there.
            algorithm: As there.
            lease: Units that a worker takes at once, to decide by itself until they are used;
                default 0. It never takes more than its part of half of what remains.
            workers: Processes that share the store; default 1.
        """
        number = _NUMBERS.get(algorithm)
        if number is None:
            raise ConfigurationError(
                "Rule.algorithm", algorithm, f"one of {', '.join(_NUMBERS)} on Redis"
            )
        window = quota.period * quota.capacity / quota.count  # of a bucket, to fill
        named = rule.replace("%", "%25").replace(":", "%3A")  # so that it ends where the key begins
        period = b"%.17g" % (quota.period / _MICROSECOND)
        return RedisCounter(
            key=f"{self._tag}{named}:{number}:{quota.period:g}:",
            numbers=b"%d %d %s %d %d" % (number, quota.count, period, quota.capacity, 2 * workers),
            window=None if algorithm == "fixed-window" else window,
            lease=lease,
        )

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses; see `Store.hit`."""
        if not charges:
            return []
        return await self._line().decide(charges, 1.0 if within is None else within)

    async def give_back(
        self, charges: Sequence[Charge], *, age: float, within: float | None = None
    ) -> None:
        """Undo charges; see `GivesBack.give_back`."""
        await self._line().give_back(charges, age, 1.0 if within is None else within)

    def _line(self) -> "_Line":
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line(self._connect())
        return line

    async def aclose(self) -> None:
        """Close the connection of this event loop."""
        line = self._lines.pop(asyncio.get_running_loop(), None)
        if line is not None:
            await line.aclose(close_client=self._owns)


@dataclass(frozen=True, slots=True)
class RedisCounter:
    """The counter of one rule.

    Attributes:
        key: What its keys on the server begin with.
        numbers: What the script needs to know of it: algorithm, count, period, burst, share.
        window: Seconds after which a unit that was taken is worth nothing any more; None for the
            end of the server's window.
        lease: Units that are taken at once, 0 or 1 for no more than are used.
    """

    key: str
    numbers: bytes
    window: float | None
    lease: int = 0


class _Line:
    """One event loop's line to the server, and what it has on lease."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._leases = Leases()
        self._talk: Conversation[_Question, list[_Answer]] = Conversation(self._ask, _MOST_TOGETHER)

    async def aclose(self, *, close_client: bool) -> None:
        back = self._leases.give_back(monotonic())
        if back:
            with suppress(StoreUnavailable):  # whose units are lost then, until they fade
                await self._talk.ask((back, None), _PARTING)
        await self._talk.aclose()
        if close_client:
            await self._client.aclose()

    async def decide(self, charges: Sequence[Charge], within: float) -> Sequence[Decision]:
        for counter, _, _ in charges:
            if counter.lease:
                return await self._decide_with_leases(charges, within)
        return [decision for decision, _ in await self._talk.ask((charges, None), within)]

    async def give_back(self, charges: Sequence[Charge], age: float, within: float) -> None:
        ages = [int(age / _MICROSECOND)]
        back = [(counter, key, -cost) for counter, key, cost in charges]
        await asyncio.gather(*(self._talk.ask(([each], ages), within) for each in back))

    async def _decide_with_leases(
        self, charges: Sequence[Charge], within: float
    ) -> Sequence[Decision]:
        now = monotonic()
        used = [self._leases.use(counter.key, key, cost, now) for counter, key, cost in charges]
        asked = [charge for charge, lease in zip(charges, used, strict=True) if lease is None]
        if not asked:
            return [lease.decision(now) for lease in used if lease is not None]
        extras = [self._extra(charge) for charge in asked]
        answers: list[_Answer] | None = None
        try:
            answers = await self._talk.ask((asked, extras), within)
        finally:
            if answers is None or not all(decision.admitted for decision, _ in answers):
                for lease, (_, _, cost) in zip(used, charges, strict=True):
                    if lease is not None:
                        lease.units += cost  # nothing is charged for a refusal
            self._take(asked, extras, answers)
        rest = (each._replace(remaining=each.remaining + taken) for each, taken in answers)
        return [next(rest) if lease is None else lease.decision(now) for lease in used]

    def _extra(self, charge: Charge) -> int:
        """Return how many units to take beside what is charged."""
        counter, key, cost = charge
        wanted: int = max(0, counter.lease - cost)
        return wanted if wanted and self._leases.begin(counter.key, key) else 0

    def _take(
        self, asked: Sequence[Charge], extras: Sequence[int], answers: "Sequence[_Answer] | None"
    ) -> None:
        """Keep what was taken, and let others ask for what was not."""
        now = monotonic()
        for place, (counter, key, _) in enumerate(asked):
            if extras[place]:
                lease = None
                if answers is not None:
                    decision, taken = answers[place]
                    until = now + (decision.reset if counter.window is None else counter.window)
                    reset_at = now + decision.reset
                    lease = Lease(counter, taken, until, decision.remaining, reset_at)
                self._leases.end(counter.key, key, lease)

    async def _ask(self, questions: "Sequence[_Question]") -> "list[list[_Answer]]":
        keys: list[bytes] = []
        asked: list[bytes] = []
        for charges, extras in questions:
            asked.append(b"%d" % len(charges))
            for place, (counter, key, cost) in enumerate(charges):
                keys.append((counter.key + key).encode("utf-8", "surrogatepass"))
                extra = 0 if extras is None else extras[place]
                asked.append(b"%s %d %d" % (counter.numbers, cost, extra))
        numbers = b" ".join(asked)
        try:
            answer = await self._client.evalsha(_SHA, len(keys), *keys, numbers)
        except NoScriptError:  # a server that has been restarted, or a new one
            answer = await self._client.eval(_SCRIPT, len(keys), *keys, numbers)
        answers = iter(answer.split())
        return [[_answer(answers) for _ in charges] for charges, _ in questions]


_Question: TypeAlias = tuple[Sequence[Charge], Sequence[int] | None]
"""Charges, and the units to take beside each where a lease is wanted; or the age, in microseconds,
of what is given back."""

_Answer: TypeAlias = tuple[Decision, int]
"""A decision, and the units that were taken beside it."""


def _answer(numbers: Iterator[bytes | str]) -> _Answer:
    admitted, remaining, reset, retry, taken = map(int, islice(numbers, 5))
    decision = Decision(
        admitted == 1,
        remaining,
        reset * _MICROSECOND,
        None if retry < 0 else retry * _MICROSECOND,
    )
    return decision, taken
