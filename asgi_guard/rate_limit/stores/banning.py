"""Bans in this process: the records of one rule's keys, and the counter that goes by them."""

from heapq import heappop, heappush, heapreplace

from asgi_guard.rate_limit.ban import (
    Ban,
    Record,
    after_refusal,
    matters_until,
    rest_of_ban,
    while_banned,
)
from asgi_guard.rate_limit.decision import BanBegun, Banned, Decided
from asgi_guard.rate_limit.stores.counters import MemoryCounter

_AT_ONCE = 2  # records that are looked at for each new one, so that no refusal pays for many


class Records:
    """What is known of the keys that one rule has refused: so many at most.

    A record is kept for as long as it matters. New ones make room for themselves; where there is no
    room, a key has no record, and cannot be banned: nobody is freed early for it.

    Args:
        ban: The terms.
        most: How many there may be.

    Attributes:
        ban: The terms.
    """

    def __init__(self, ban: Ban, most: int) -> None:
        self.ban: Ban = ban
        self._matter_until = 0.0
        self._most = most
        self._records: dict[str, Record] = {}
        self._ends: list[tuple[float, str]] = []  # a heap of when to look, each key once

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._records)

    def rest(self, key: str, now: float) -> float:
        """Return the seconds for which a key is still banned; 0 where it is not."""
        return rest_of_ban(self._records.get(key), now)

    def refused(self, key: str, now: float) -> float:
        """Count a refusal of a key that is not banned; return the seconds of the ban it begins."""
        known = self._records.get(key)
        if known is None:
            self._make_room(now)
            if len(self._records) >= self._most:
                return 0.0
        record, lasts = after_refusal(self.ban, known, now)
        self._records[key] = record
        end = matters_until(self.ban, record)
        self._matter_until = max(self._matter_until, end)
        if known is None:
            heappush(self._ends, (end, key))
        return lasts

    def are_spent(self, now: float) -> bool:
        """Tell whether none of them matters any more."""
        return now >= self._matter_until

    def _make_room(self, now: float) -> None:
        for _ in range(_AT_ONCE):
            if not self._ends or self._ends[0][0] > now:
                return
            key = self._ends[0][1]
            end = matters_until(self.ban, self._records[key])
            if end > now:
                heapreplace(self._ends, (end, key))
            else:
                heappop(self._ends)
                del self._records[key]


class BanningCounter(MemoryCounter):
    """A counter that bans the keys it refuses again and again.

    Args:
        plain: The counter without bans.
        records: What is known of its keys.

    Attributes:
        plain: That counter, which is what to charge where nobody is to be banned.
    """

    def __init__(self, plain: MemoryCounter, records: Records) -> None:
        self.plain: MemoryCounter = plain
        self._records = records

    def hit(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge what is admitted; count what is refused, unless it only looks."""
        rest = self._records.rest(key, now)
        if rest:
            return Banned(*while_banned(self.plain.look(key, cost, now), rest))
        return self._settle(self.plain.hit(key, cost, now), key, cost, now)

    def look(self, key: str, cost: int, now: float) -> Decided:
        """Decide, and charge nothing; what is refused with a cost counts as much as a hit."""
        rest = self._records.rest(key, now)
        decided = self.plain.look(key, cost, now)
        if rest:
            return Banned(*while_banned(decided, rest))
        return self._settle(decided, key, cost, now)

    def take_back(self, key: str, cost: int, now: float) -> None:
        """Undo a charge of the same moment."""
        self.plain.take_back(key, cost, now)

    def give_back(self, key: str, cost: int, age: float, now: float) -> None:
        """Undo a charge of some time ago; bans stay."""
        self.plain.give_back(key, cost, age, now)

    def _settle(self, decided: Decided, key: str, cost: int, now: float) -> Decided:
        if decided[0] or not cost:
            return decided
        lasts = self._records.refused(key, now)
        return BanBegun(*while_banned(decided, lasts)) if lasts else decided
