"""The in-process store: exact within one process, O(1) per hit, bounded, and never swept."""

from collections.abc import Sequence
from typing import Any, ClassVar

from asgi_guard._checks import check_clock, check_count
from asgi_guard._clock import Clock, monotonic
from asgi_guard.errors import ConfigurationError
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.decision import Decided, Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.stores.banning import BanningCounter, Records
from asgi_guard.rate_limit.stores.counters import (
    BucketCounter,
    FixedCounter,
    MemoryCounter,
    SlidingCounter,
)
from asgi_guard.rate_limit.stores.shards import Table
from asgi_guard.rate_limit.stores.store import Charge

_COUNTERS: dict[str, type[MemoryCounter]] = {
    "sliding-window": SlidingCounter,
    "fixed-window": FixedCounter,
    "token-bucket": BucketCounter,
}
_SHARE_OF_RECORDS = 10  # a record of refusals takes as much as four entries


class MemoryStore:
    """Counters in this process.

    State is per process: with several workers each admits the whole quota. It belongs to one event
    loop at a time.

    Args:
        max_keys: The most entries a rule may keep, from 4,096 up; default 1,000,000. An entry
            takes about 100 bytes. Half of them are for this window and half for the one before,
            and both are divided into shards, 64 of them or, from 262,144 entries up, 256. When a
            shard is full, its keys that are new share counters in groups until its window moves
            on, so plan for three times the keys you expect in a period; no key that is being
            counted is ever forgotten. A rule with a ban watches a tenth as many keys beside, of
            those that it refuses: when there are as many, keys that are new are refused, but not
            banned, until others are forgiven.
        clock: A callable returning seconds that never run backwards; default `time.monotonic`.

    Attributes:
        clock: That clock.

    Raises:
        ConfigurationError: `max_keys` is out of range.
    """

    keeps_bans: ClassVar[bool] = True
    """Keys may be banned after repeated refusals."""

    def __init__(self, *, max_keys: int = 1_000_000, clock: Clock = monotonic) -> None:
        check_count("MemoryStore.max_keys", max_keys, least=4096)
        check_clock("MemoryStore.clock", clock)
        self.clock: Clock = clock
        self._most_keys = max_keys
        self._tables: dict[tuple[str, str, float], Table[Any]] = {}
        self._records: dict[str, Records] = {}

    def counter(
        self,
        rule: str,
        quota: Quota,
        algorithm: Algorithm = "sliding-window",
        *,
        ban: Ban | None = None,
    ) -> MemoryCounter:
        """Return the counter of a rule; see `Store.counter`.

        Args:
            rule: As there.
            quota: As there.
            algorithm: As there.
            ban: What becomes of keys that are refused again and again; default None: nothing. It
                belongs to the name of the rule, whatever its quota is.
        """
        kind = _COUNTERS.get(algorithm)
        if kind is None:
            raise ConfigurationError(
                "Rule.algorithm", algorithm, f"one of {', '.join(_COUNTERS)} in this process"
            )
        name = rule, algorithm, quota.period
        table = self._tables.get(name)
        if table is None:
            now = self.clock()
            self._forget(now)
            made: Table[Any] = Table(now, kind.window(quota), self._most_keys)
            table = self._tables.setdefault(name, made)  # another thread may have been quicker
        plain = kind(quota, table)
        return plain if ban is None else BanningCounter(plain, self._records_of(rule, ban))

    def _records_of(self, rule: str, ban: Ban) -> Records:
        made = Records(ban, self._most_keys // _SHARE_OF_RECORDS)
        records = self._records.setdefault(rule, made)
        records.ban = ban  # the terms of the moment; who is banned stays so
        return records

    async def hit(
        self,
        charges: Sequence[Charge],
        *,
        within: float | None = None,  # noqa: ARG002 - it answers at once
    ) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses."""
        return [
            decided if isinstance(decided, Decision) else Decision(*decided)
            for decided in hit_all(charges, self.clock())
        ]

    async def give_back(
        self,
        charges: Sequence[Charge],
        *,
        age: float,
        within: float | None = None,  # noqa: ARG002 - it is done at once
    ) -> None:
        """Undo charges; see `GivesBack.give_back`."""
        now = self.clock()
        for counter, key, cost in charges:
            counter.give_back(key, cost, age, now)

    def __len__(self) -> int:
        """Return the number of entries kept, in all rules and both windows, and of records."""
        entries = sum(len(shard) for table in self._tables.values() for shard in table.shards)
        return entries + sum(map(len, self._records.values()))

    def _forget(self, now: float) -> None:
        """Drop the tables of rules that are gone, once nothing in them matters any more."""
        for name, table in list(self._tables.items()):
            if table.is_spent(now):
                del self._tables[name]
        rules = {rule for rule, _, _ in self._tables}
        for rule, records in list(self._records.items()):
            if rule not in rules and records.are_spent(now):
                del self._records[rule]


def hit_all(charges: Sequence[Charge], now: float) -> list[Decided]:
    """Charge counters of the in-process store, or none of them if one refuses."""
    decided: list[Decided] = []
    for counter, key, cost in charges:
        decision = counter.hit(key, cost, now)
        decided.append(decision)
        if not decision[0]:
            return refuse_all(charges, decided, now)
    return decided


def refuse_all(charges: Sequence[Charge], decided: list[Decided], now: float) -> list[Decided]:
    """Take back what was charged before the last decision refused, and look at the others."""
    last = len(decided) - 1
    for counter, key, cost in charges[:last]:
        if cost:
            counter.take_back(key, cost, now)
    answers: list[Decided] = []
    for counter, key, cost in charges:
        if len(answers) == last:
            answers.append(decided[last])
            continue
        look = counter.look(key, 0, now)
        # What it would cost is asked for only where that is too much: then it refuses as well.
        answers.append(counter.look(key, cost, now) if cost > look[1] else look)
    return answers
