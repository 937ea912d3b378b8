"""What every store promises, as checks that any store can be put through.

Each takes a store that works and asks it on keys and rules of its own, so nothing need be emptied
in between. They wait for real time, since a store's clock may be in another process; all of them
together take a few seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import permutations
from types import MappingProxyType
from typing import Literal, TypeAlias
from uuid import uuid4

from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.stores.store import Counter, Store
from asgi_guard.testing.store_bans import BAN_CHECKS

StoreCheck: TypeAlias = Callable[[Store, Algorithm], Awaitable[None]]
"""Raises `AssertionError` when a store does not keep a promise with an algorithm."""

Need: TypeAlias = Literal["atomic", "sub-second", "bans"]
"""What a check takes for granted, and stores with weaker guarantees do not have.

`atomic`: hits at the same time, on one counter or several, are decided as if one came after the
other. `sub-second`: periods may be fractions of a second. `bans`: `keeps_bans` is true of the
store, and its `counter` takes a `ban=`.
"""

_LONG = 1_200_000.0  # so long that no window of anybody's clock ends meanwhile
_LONG_AGO_AND_SOON = (0.001, 3_155_760_000.0)
_ODD_KEYS = ("", " ", "a:b", "a", "b", ":", "{a}", "}{", "ä", "\x00", "日本", "\ud800", "x" * 128)


def store_checks(
    *algorithms: Algorithm, without: AbstractSet[Need] = frozenset()
) -> list[tuple[str, StoreCheck, Algorithm]]:
    """Return every check with every algorithm, each with a name; for tests with parameters.

    Args:
        algorithms: What the store can count by; at least one.
        without: What the store does not have, of `"atomic"`, `"sub-second"` and `"bans"`: the
            checks that need it, as `STORE_CHECK_NEEDS` tells, are left out. Assert in your tests
            which they are, so that none of a newer version is left out unseen. Default: nothing.
    """
    return [
        (f"{check.__name__}-{algorithm}", check, algorithm)
        for algorithm in algorithms
        for check in STORE_CHECKS
        if without.isdisjoint(STORE_CHECK_NEEDS.get(check, ()))
    ]


async def admits_the_count_and_no_more(store: Store, algorithm: Algorithm) -> None:
    """So many hits are admitted, and what remains goes down to nothing."""
    ask = _one(store, algorithm, Quota(5, _LONG))
    decisions = [await ask() for _ in range(7)]
    assert [each.admitted for each in decisions] == [True] * 5 + [False] * 2, decisions
    assert [each.remaining for each in decisions] == [4, 3, 2, 1, 0, 0, 0], decisions


async def admits_the_count_to_a_crowd(store: Store, algorithm: Algorithm) -> None:
    """Hits at the same time are admitted as often as hits one after the other."""
    ask = _one(store, algorithm, Quota(50, _LONG))
    decisions = await asyncio.gather(*(ask() for _ in range(400)))
    assert sum(each.admitted for each in decisions) == 50
    assert sorted(each.remaining for each in decisions if each.admitted) == list(range(50))


async def keeps_keys_apart(store: Store, algorithm: Algorithm) -> None:
    """No key is another's, whatever characters it is made of."""
    counter = store.counter(_name(), Quota(1, _LONG), algorithm)
    for admitted in (True, False):
        for key in _ODD_KEYS:
            assert (await _hit(store, counter, key)).admitted is admitted, key


async def keeps_rules_apart(store: Store, algorithm: Algorithm) -> None:
    """Neither are rules, and neither are a rule and a key that look alike together."""
    rule, quota = _name(), Quota(1, _LONG)
    for name, key in ((rule, "a:b"), (f"{rule}:a", "b"), (f"{rule}:a:b", "")):
        assert (await _hit(store, store.counter(name, quota, algorithm), key)).admitted


async def goes_on_from_what_was_used(store: Store, algorithm: Algorithm) -> None:
    """A rule whose count has changed is no amnesty."""
    rule = _name()
    for _ in range(3):
        await _hit(store, store.counter(rule, Quota(4, _LONG, burst=None), algorithm))
    if algorithm != "token-bucket":  # which is full at another time when its size is another
        decision = await _hit(store, store.counter(rule, Quota(3, _LONG), algorithm))
        assert not decision.admitted


async def charges_the_cost(store: Store, algorithm: Algorithm) -> None:
    """A hit may cost several units, and one that costs too much leaves them for another."""
    ask = _one(store, algorithm, Quota(10, _LONG))
    assert (await ask(8)).remaining == 2
    assert not (await ask(5)).admitted
    assert await ask(2) >= (True, 0)


async def refuses_for_good_what_never_fits(store: Store, algorithm: Algorithm) -> None:
    """A cost above the quota is refused without a time to come back."""
    ask = _one(store, algorithm, Quota(10, _LONG))
    decision = await ask(11)
    assert not decision.admitted
    assert decision.retry_after is None
    assert decision.remaining == 10


async def looks_for_nothing(store: Store, algorithm: Algorithm) -> None:
    """A cost of 0 charges nothing, and says what remains."""
    ask = _one(store, algorithm, Quota(2, _LONG))
    assert await ask(0) == Decision(True, 2, 0.0, 0.0)
    await ask()
    assert [(await ask(0)).remaining for _ in range(5)] == [1] * 5


async def charges_all_rules_or_none(store: Store, algorithm: Algorithm) -> None:
    """Where one rule refuses, in whatever place, the others are not charged."""
    for order in permutations((100, 1, 50)):
        counters = [store.counter(_name(), Quota(count, _LONG), algorithm) for count in order]
        charges = [(counter, "a", 1) for counter in counters]
        first = await store.hit(charges)
        assert [each.remaining for each in first] == [count - 1 for count in order]
        for _ in range(3):
            refused = await store.hit(charges)
            assert [each.admitted for each in refused] == [count > 1 for count in order]
            assert [each.remaining for each in refused] == [count - 1 for count in order]


async def charges_all_rules_or_none_in_a_crowd(store: Store, algorithm: Algorithm) -> None:
    """Also when many ask at the same time."""
    wide = store.counter(_name(), Quota(1000, _LONG), algorithm)
    tight = store.counter(_name(), Quota(20, _LONG), algorithm)
    asked = [store.hit([(wide, "a", 1), (tight, "a", 1)]) for _ in range(100)]
    decisions = await asyncio.gather(*asked)
    assert sum(all(each.admitted for each in both) for both in decisions) == 20
    assert (await _hit(store, wide, cost=0)).remaining == 980


async def decides_ten_rules_in_order(store: Store, algorithm: Algorithm) -> None:
    """Decisions come in the order of the charges, for rules and keys of any number."""
    counts = [7, 3, 9, 1, 5, 2, 8, 4, 10, 6]
    counters = [store.counter(_name(), Quota(count, _LONG), algorithm) for count in counts]
    charges = [(counter, f"key-{place}", 1) for place, counter in enumerate(counters)]
    assert [each.remaining for each in await store.hit(charges)] == [each - 1 for each in counts]
    assert list(await store.hit([])) == []


async def tells_how_long_to_wait(store: Store, algorithm: Algorithm) -> None:
    """Who waits as long as told is admitted, and who waits for `reset` finds more."""
    ask = _one(store, algorithm, Quota(4, 0.5))
    while (await ask()).admitted:
        pass
    refused = await ask()
    assert refused.retry_after is not None
    assert 0 < refused.retry_after <= 1.0
    assert 0 < refused.reset <= refused.retry_after
    await asyncio.sleep(refused.retry_after + _CLOCK_STEP)
    assert (await ask()).admitted


async def forgets_what_is_over(store: Store, algorithm: Algorithm) -> None:
    """After two periods without a hit a key is as new."""
    ask = _one(store, algorithm, Quota(3, 0.2))
    await ask(3)
    await asyncio.sleep(0.4 + _CLOCK_STEP)
    assert (await ask(0)).remaining == 3


async def counts_in_any_size(store: Store, algorithm: Algorithm) -> None:
    """Periods from a millisecond to a century, and counts as large as a header field may hold."""
    most = 1000 if algorithm == "moving-window" else 10**15 - 1
    for period in _LONG_AGO_AND_SOON:
        ask = _one(store, algorithm, Quota(most, period))
        decision = await ask()
        assert decision.admitted
        assert most - 2 <= decision.remaining <= most, decision
    ask = _one(store, algorithm, Quota(1, _LONG_AGO_AND_SOON[1]))
    assert (await ask()).admitted
    refused = await ask()
    assert refused.retry_after is not None
    assert refused.retry_after > 0


async def survives_who_leaves(store: Store, algorithm: Algorithm) -> None:
    """Hits that are cancelled are charged or not, and hurt nobody else's."""
    counter = store.counter(_name(), Quota(1000, _LONG), algorithm)
    tasks = [asyncio.ensure_future(_hit(store, counter)) for _ in range(60)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    admitted = [each for each in done if isinstance(each, Decision)]
    assert len(admitted) >= 30
    assert all(each.admitted for each in admitted)
    left = (await _hit(store, counter, cost=0)).remaining
    assert 940 <= left <= 1000 - len(admitted)


STORE_CHECKS: tuple[StoreCheck, ...] = (
    admits_the_count_and_no_more,
    admits_the_count_to_a_crowd,
    keeps_keys_apart,
    keeps_rules_apart,
    goes_on_from_what_was_used,
    charges_the_cost,
    refuses_for_good_what_never_fits,
    looks_for_nothing,
    charges_all_rules_or_none,
    charges_all_rules_or_none_in_a_crowd,
    decides_ten_rules_in_order,
    tells_how_long_to_wait,
    forgets_what_is_over,
    counts_in_any_size,
    survives_who_leaves,
    *BAN_CHECKS,
)
"""What every store promises."""

STORE_CHECK_NEEDS: Mapping[StoreCheck, AbstractSet[Need]] = MappingProxyType(
    {
        admits_the_count_to_a_crowd: {"atomic"},
        charges_all_rules_or_none_in_a_crowd: {"atomic"},
        tells_how_long_to_wait: {"sub-second"},
        forgets_what_is_over: {"sub-second"},
        counts_in_any_size: {"sub-second"},
        **dict.fromkeys(BAN_CHECKS, frozenset({"bans", "sub-second"})),
    }
)
"""What checks need beside a store that works; those that are not named need nothing."""

_CLOCK_STEP = 0.002  # a server may tell the time in whole milliseconds


def _one(store: Store, algorithm: Algorithm, quota: Quota) -> Callable[..., Awaitable[Decision]]:
    counter = store.counter(_name(), quota, algorithm)

    async def ask(cost: int = 1) -> Decision:
        return await _hit(store, counter, cost=cost)

    return ask


async def _hit(store: Store, counter: Counter, key: str = "a", cost: int = 1) -> Decision:
    decisions: Sequence[Decision] = await store.hit([(counter, key, cost)])
    assert len(decisions) == 1
    return decisions[0]


def _name() -> str:
    return f"check-{uuid4().hex}"
