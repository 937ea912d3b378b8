"""The Redis store: one decision for all workers, in one round trip for any number of rules.

The decision is a script on the server, by the server's clock. Requests that arrive while an answer
is on its way travel together with the next question, over one connection for each event loop.
"""

import asyncio
from collections.abc import Sequence
from typing import ClassVar
from weakref import WeakKeyDictionary

from asgi_guard._checks import check_name
from asgi_guard.errors import ConfigurationError
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.rules.straight import Prepared
from asgi_guard.rate_limit.stores.redis_client import Client, connector
from asgi_guard.rate_limit.stores.redis_counter import RedisCounter, redis_counter
from asgi_guard.rate_limit.stores.redis_line import Line
from asgi_guard.rate_limit.stores.redis_question import LendingQuestion, PlainQuestion
from asgi_guard.rate_limit.stores.store import Charge

_PATIENCE = 1.0  # seconds, where nobody says how long to wait


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
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = WeakKeyDictionary()
        # The loop that asked last and its line; one attribute, for loops in several threads.
        self._last: tuple[asyncio.AbstractEventLoop, Line] | None = None

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
        line = self.line(asyncio.get_running_loop())
        patience = _PATIENCE if within is None else within
        decide = line.decide
        for counter, _, _ in charges:
            if counter.lease:
                decide = line.decide_with_leases
        decisions: Sequence[Decision] = await decide(charges, patience)
        return decisions

    def prepare(self, charges: Sequence[tuple[RedisCounter, int]]) -> Prepared | None:
        """Prepare a question that will be asked of many keys; see `Prepares.prepare`."""
        if type(self).hit is not RedisStore.hit:  # a subclass may decide otherwise
            return None
        if any(counter.bans for counter, _ in charges):  # of which numbers alone do not tell
            return None
        if any(counter.lease for counter, _ in charges):
            return LendingQuestion(self.line, charges)
        return PlainQuestion(self.line, charges)

    async def give_back(
        self, charges: Sequence[Charge], *, age: float, within: float | None = None
    ) -> None:
        """Undo charges; see `GivesBack.give_back`."""
        await self.line(asyncio.get_running_loop()).give_back(
            charges, age, 1.0 if within is None else within
        )

    async def aclose(self) -> None:
        """Close the connection of this event loop."""
        loop = asyncio.get_running_loop()
        line = self._lines.pop(loop, None)
        if self._last is not None and self._last[0] is loop:
            self._last = None
        if line is not None:
            await line.aclose(close_client=self._owns)

    async def end_leases(self) -> None:
        """Give back the units that this event loop has on lease, and go on."""
        line = self._lines.get(asyncio.get_running_loop())
        if line is not None:
            await line.end_leases()

    def line(self, loop: asyncio.AbstractEventLoop) -> Line:
        """Return the line of the running event loop, without connecting."""
        last = self._last
        if last is not None and last[0] is loop:
            return last[1]
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = Line(self._connect())
        self._last = (loop, line)
        return line
