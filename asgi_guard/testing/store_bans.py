"""What stores that keep bans promise; see `asgi_guard.testing.stores`.

They are asked for bans long enough to be noticed on a busy machine, and short enough to wait for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import permutations
from typing import Any, TypeAlias
from uuid import uuid4

from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.decision import BanBegun, Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.stores.store import Store

BanCheck: TypeAlias = Callable[[Store, Algorithm], Awaitable[None]]

_LONG = 1_200_000.0  # so long that no window of anybody's clock ends meanwhile
_SHORT = 0.3
_ROUNDING = 0.001
_CLOCK_STEP = 0.002  # a server may tell the time in whole milliseconds


class _Banning:
    """A counter with a ban, of a rule of its own."""

    def __init__(
        self, store: Store, algorithm: Algorithm, ban: Ban | None, quota: Quota, rule: str = ""
    ) -> None:
        more: dict[str, Any] = {} if ban is None else {"ban": ban}
        able: Any = store
        self.store = store
        self.rule = rule or f"check-{uuid4().hex}"
        self.counter = able.counter(self.rule, quota, algorithm, **more)

    async def hit(self, cost: int = 1, key: str = "a") -> Decision:
        (decision,) = await self.store.hit([(self.counter, key, cost)])
        return decision

    async def hits(self, times: int) -> list[Decision]:
        return [await self.hit() for _ in range(times)]


async def bans_after_so_many_refusals(store: Store, algorithm: Algorithm) -> None:
    """Not before; from then on nothing remains, and only the first of them begins a ban."""
    banning = _Banning(store, algorithm, Ban(3, lasts=1000.0), Quota(2, _LONG))
    decisions = await banning.hits(7)
    assert [each.admitted for each in decisions] == [True] * 2 + [False] * 5, decisions
    assert [each.banned for each in decisions] == [False] * 4 + [True] * 3, decisions
    assert [isinstance(each, BanBegun) for each in decisions].index(True) == 4
    assert sum(isinstance(each, BanBegun) for each in decisions) == 1
    assert all(each.remaining == 0 for each in decisions[4:])
    look = await banning.hit(0)
    assert look.banned
    assert not look.admitted
    assert not (await banning.hit(key="b")).banned


async def bans_whatever_the_quota_says(store: Store, algorithm: Algorithm) -> None:
    """Units that come free meanwhile are of no use, and the wait that was told is exact."""
    banning = _Banning(store, algorithm, Ban(2, lasts=1000.0), Quota(4, 0.02))
    while not (begun := await banning.hit(3)).banned:
        pass
    assert begun.retry_after is not None
    assert abs(begun.retry_after - 1000.0) < _ROUNDING
    await asyncio.sleep(0.04 + _CLOCK_STEP)
    refused = await banning.hit()
    assert refused.banned
    assert refused.retry_after is not None
    assert refused.reset == refused.retry_after
    assert 900.0 < refused.retry_after < 1000.0 - 0.04
    never = await banning.hit(5)
    assert never.banned
    assert never.retry_after is None


async def ends_a_ban_when_it_was_told(store: Store, algorithm: Algorithm) -> None:
    """Who waits as long as told is admitted, and what was refused meanwhile changes nothing."""
    banning = _Banning(store, algorithm, Ban(2, lasts=_SHORT), Quota(4, 0.02))
    while not (await banning.hit(3)).banned:
        pass
    waits = []
    for _ in range(5):
        refused = await banning.hit()
        assert refused.banned
        assert refused.retry_after is not None
        waits.append(refused.retry_after)
    assert waits == sorted(waits, reverse=True)
    await asyncio.sleep(waits[-1] + _CLOCK_STEP)
    assert (await banning.hit()).admitted


async def waits_for_ban_and_quota(store: Store, algorithm: Algorithm) -> None:
    """Where the quota is used up for longer than the ban lasts, that is what is told."""
    banning = _Banning(store, algorithm, Ban(1, lasts=0.01), Quota(1, _LONG))
    _, begun = await banning.hits(2)
    assert begun.banned
    assert begun.retry_after is not None
    assert begun.retry_after > 1.0
    assert begun.reset == begun.retry_after


async def bans_for_longer_each_time(store: Store, algorithm: Algorithm) -> None:
    """Up to the longest; a key that is quiet for as long as its last ban lasted is forgiven."""
    ban = Ban(1, lasts=_SHORT, multiplier=1.5, longest=1.6 * _SHORT)
    rule = _Banning(store, algorithm, ban, Quota(1, 0.001)).rule
    # Of another quota that hardly anything fits in: bans belong to the rule.
    banning = _Banning(store, algorithm, ban, Quota(1, _LONG), rule)
    await banning.hit()
    for lasts in (_SHORT, 1.5 * _SHORT, 1.6 * _SHORT, 1.6 * _SHORT):
        assert isinstance(await banning.hit(), BanBegun)
        probe = _Banning(store, algorithm, ban, Quota(1, 0.001), rule)
        rest = (await probe.hit(0)).retry_after
        assert rest is not None
        assert lasts - 0.2 < rest <= lasts
        await asyncio.sleep(rest + _CLOCK_STEP)
    await asyncio.sleep(1.6 * _SHORT)
    assert isinstance(await banning.hit(), BanBegun)
    forgiven = (await probe.hit(0)).retry_after
    assert forgiven is not None
    assert forgiven <= _SHORT


async def counts_refusals_anew(store: Store, algorithm: Algorithm) -> None:
    """After the seconds in which they have to come, from the first one after a ban on."""
    banning = _Banning(store, algorithm, Ban(3, within=0.2), Quota(1, _LONG))
    await banning.hits(3)
    await asyncio.sleep(0.2 + _CLOCK_STEP)
    assert not (await banning.hit()).banned
    banning = _Banning(store, algorithm, Ban(2, within=0.6, lasts=_SHORT), Quota(1, _LONG))
    assert (await banning.hits(3))[-1].banned
    for pause, is_banned in ((0.4, False), (0.3, True)):
        await asyncio.sleep(pause)
        assert (await banning.hit()).banned is is_banned


async def counts_no_look(store: Store, algorithm: Algorithm) -> None:
    """What only looks is no refusal, also where more is used than the quota holds by now."""
    ban = Ban(2)
    wide = _Banning(store, algorithm, ban, Quota(3, _LONG))
    await wide.hits(3)
    tight = _Banning(store, algorithm, ban, Quota(1, _LONG), wide.rule)
    assert [(await tight.hit(0)).banned for _ in range(5)] == [False] * 5
    assert [each.banned for each in await tight.hits(2)] == [False, True]


async def charges_nothing_for_who_is_banned(store: Store, algorithm: Algorithm) -> None:
    """Not on other rules either, in whatever order; and what others refuse counts as well."""
    for order in permutations((True, False)):
        strict = _Banning(store, algorithm, Ban(2, lasts=1000.0), Quota(1, _LONG))
        wide = _Banning(store, algorithm, None, Quota(100, _LONG))
        both = [strict.counter if is_strict else wide.counter for is_strict in order]
        answers = [await store.hit([(counter, "a", 1) for counter in both]) for _ in range(6)]
        place = order.index(True)
        assert [each[place].banned for each in answers] == [False] * 2 + [True] * 4
        assert all(each[1 - place].admitted for each in answers)
        assert {each[1 - place].remaining for each in answers} == {99}


async def counts_a_refusal_that_others_share(store: Store, algorithm: Algorithm) -> None:
    """Each rule that refuses counts it; each that would admit does not, in whatever order."""
    for order in permutations(range(3)):
        full = [_Banning(store, algorithm, Ban(2), Quota(1, _LONG)) for _ in range(2)]
        free = _Banning(store, algorithm, Ban(1), Quota(9, _LONG))
        for each in full:
            await each.hit()
        counters = [(*full, free)[place].counter for place in order]
        for _ in range(3):
            decisions = await store.hit([(counter, "a", 1) for counter in counters])
        assert [each.banned for each in decisions] == [place < 2 for place in order]
        assert (await free.hit(0)).remaining == 9


BAN_CHECKS: tuple[BanCheck, ...] = (
    bans_after_so_many_refusals,
    bans_whatever_the_quota_says,
    ends_a_ban_when_it_was_told,
    waits_for_ban_and_quota,
    bans_for_longer_each_time,
    counts_refusals_anew,
    counts_no_look,
    charges_nothing_for_who_is_banned,
    counts_a_refusal_that_others_share,
)
"""What every store that keeps bans promises."""
