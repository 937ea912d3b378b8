"""The in-process store: atomic over rules, bounded, and forgetting nobody too early."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard import ConfigurationError, Decision, MemoryStore, Quota
from asgi_guard.rate_limit.algorithms import Algorithm, sliding_window
from asgi_guard.testing import FakeClock

QUOTA = Quota(2, 10.0)


async def hit(store: MemoryStore, *charges: tuple[str, Quota, str, int]) -> list[Decision]:
    """Charge rules that are named in place."""
    named = [(store.counter(rule, quota), key, cost) for rule, quota, key, cost in charges]
    return list(await store.hit(named))


async def test_each_key_has_its_own_quota() -> None:
    """One client's hits are no other's."""
    store = MemoryStore(clock=FakeClock())
    for key in ("a", "b"):
        answers = [(await hit(store, ("r", QUOTA, key, 1)))[0].admitted for _ in range(3)]
        assert answers == [True, True, False]


async def test_each_rule_has_its_own_counters() -> None:
    """The same key under another rule is another counter."""
    store = MemoryStore(clock=FakeClock())
    for rule in ("one", "two"):
        assert [d.remaining for d in await hit(store, (rule, QUOTA, "a", 1))] == [1]


async def test_a_changed_count_goes_on_from_what_was_used() -> None:
    """Counters belong to the rule's name and period, so a new limit is no amnesty."""
    store = MemoryStore(clock=FakeClock())
    await hit(store, ("r", Quota(5, 10.0), "a", 4))
    (decision,) = await hit(store, ("r", Quota(4, 10.0), "a", 1))
    assert not decision.admitted


async def test_a_refusal_charges_nothing_anywhere() -> None:
    """Several quotas are charged all together, or not at all."""
    store = MemoryStore(clock=FakeClock())
    wide, tight = ("wide", Quota(100, 10.0), "a", 1), ("tight", Quota(1, 10.0), "a", 1)
    assert [d.remaining for d in await hit(store, wide, tight)] == [99, 0]
    for _ in range(10):
        first, second = await hit(store, wide, tight)
        assert (first.admitted, first.remaining) == (True, 99)
        assert (second.admitted, second.remaining) == (False, 0)
    assert [d.remaining for d in await hit(store, wide)] == [98]


async def test_what_is_taken_back_leaves_no_entry() -> None:
    """Keys that one rule counted, and another refused, take no place."""
    for algorithm in ("sliding-window", "fixed-window", "token-bucket"):
        store = MemoryStore(clock=FakeClock())
        first = store.counter("first", Quota(9, 10.0), algorithm)
        full = store.counter("full", Quota(1, 10.0), algorithm)
        await store.hit([(full, "everybody", 1)])
        for client in range(20):
            refused = await store.hit([(first, str(client), 1), (full, "everybody", 1)])
            assert [each.admitted for each in refused] == [True, False]
        assert len(store) == 1


async def test_what_is_over_is_forgotten() -> None:
    """After two periods nothing counts, and what is touched again starts anew."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    await hit(store, ("r", QUOTA, "a", 2))
    assert len(store) == 1
    clock.advance(20.0)
    (decision,) = await hit(store, ("r", QUOTA, "a", 0))
    assert decision.remaining == 2
    assert len(store) == 0


async def test_refused_and_looking_hits_keep_no_key() -> None:
    """Only what is charged takes room."""
    store = MemoryStore(clock=FakeClock())
    await hit(store, ("r", QUOTA, "looking", 0))
    await hit(store, ("r", QUOTA, "too much", 3))
    assert len(store) == 0


async def test_a_flood_of_keys_stays_within_the_bound() -> None:
    """However many clients come, whatever the number of windows."""
    clock = FakeClock()
    store = MemoryStore(max_keys=4096, clock=clock)
    for window in range(3):
        for number in range(20_000):
            await hit(store, ("r", QUOTA, f"{window}-{number}", 1))
        assert len(store) <= 4096
        clock.advance(QUOTA.period)


async def test_a_flood_frees_no_exhausted_key() -> None:
    """Who was refused before the flood is refused after it; who is new shares what is left."""
    store = MemoryStore(max_keys=4096, clock=FakeClock())
    await hit(store, ("r", QUOTA, "bad", 2))
    for number in range(20_000):
        await hit(store, ("r", QUOTA, f"flood-{number}", 1))
    (decision,) = await hit(store, ("r", QUOTA, "bad", 1))
    assert not decision.admitted


@pytest.mark.parametrize("algorithm", ["sliding-window", "token-bucket"])
async def test_a_place_that_gets_free_lets_nobody_out_of_a_group(algorithm: Algorithm) -> None:
    """Who shares a counter goes on sharing it, or what it has used would be forgotten."""
    store = MemoryStore(max_keys=4096, clock=FakeClock(0.0))
    counter = store.counter("rule", Quota(5, 1000.0), algorithm)
    refusing = store.counter("refusing", Quota(1, 1000.0))
    await store.hit([(refusing, "all", 1)])
    keys = [str(number) for number in range(10_000) if hash(str(number)) & 255 == 0]
    early, late = keys[:16], keys[16]
    for key in early:  # whose outcome does not count
        await store.hit([(counter, key, 1)])
        await store.give_back([(counter, key, 1)], age=0.0)
    assert (await store.hit([(counter, late, 5)]))[0].admitted
    for key in early:
        await store.hit([(counter, key, 1), (refusing, "all", 1)])
    assert not (await store.hit([(counter, late, 1)]))[0].admitted


async def test_windows_of_shards_do_not_turn_at_once() -> None:
    """So no single hit drops all keys: each window's end drops those of one shard."""
    clock = FakeClock(0.0)
    store = MemoryStore(clock=clock)
    for number in range(6400):
        await hit(store, ("r", Quota(1000, 64.0), str(number), 1))
    clock.advance(65.0)
    before = len(store)
    for number in range(64):
        await hit(store, ("r", Quota(1000, 64.0), str(number), 0))
    clock.advance(64.0)
    await hit(store, ("r", Quota(1000, 64.0), "0", 0))
    assert before == 6400
    assert len(store) > 5000


@pytest.mark.parametrize("max_keys", [0, -1, 4095, 1.5, "many", True])
def test_the_bound_is_a_whole_number(max_keys: int) -> None:
    """Below 4,096 there would be no room for the groups."""
    with pytest.raises(ConfigurationError, match=r"MemoryStore\.max_keys"):
        MemoryStore(max_keys=max_keys)


@given(
    st.integers(1, 8),
    st.lists(st.tuples(st.floats(0.0, 12.0), st.integers(0, 4)), min_size=1, max_size=60),
)
async def test_the_store_decides_as_the_algorithm_does(
    count: int, steps: list[tuple[float, int]]
) -> None:
    """Its short way for who was quiet before is the same arithmetic."""
    quota, clock = Quota(count, 10.0), FakeClock(0.0)
    store = MemoryStore(clock=clock)
    counter = store.counter("r", quota)
    key = next(str(number) for number in range(1000) if hash(str(number)) & 255 == 0)
    window, previous, current = 0.0, 0, 0
    for wait, cost in steps:
        clock.advance(wait)
        now, elapsed = divmod(clock(), 10.0)
        if now != window:
            previous, current, window = (current if now == window + 1 else 0), 0, now
        expected = sliding_window(count, 10.0, previous, current, elapsed, cost)
        (decision,) = await store.hit([(counter, key, cost)])
        assert decision[:2] == expected[:2]
        assert decision[2:] == pytest.approx(expected[2:])
        current += cost if decision.admitted else 0


class Ticking(FakeClock):
    """A clock that moves whenever it is read."""

    def __call__(self) -> float:
        """Return the time, a hundredth of a second later than before."""
        self.advance(0.01)
        return super().__call__()


@given(st.integers(1, 3), st.lists(st.integers(0, 1), min_size=20, max_size=60))
def test_nobody_is_admitted_without_a_charge(count: int, waits: list[int]) -> None:
    """Also when a unit comes free while the others are asked."""

    async def run() -> None:
        clock = Ticking()
        store = MemoryStore(clock=clock)
        tight = store.counter("tight", Quota(count, 0.05), "fixed-window")
        wide = store.counter("wide", Quota(1000, 1e6))
        admitted = 0
        for wait in waits:
            clock.advance(wait / 50)
            decisions = await store.hit([(wide, "a", 1), (tight, "a", 1)])
            admitted += all(each.admitted for each in decisions)
        (left,) = await store.hit([(wide, "a", 0)])
        assert left.remaining == 1000 - admitted

    asyncio.run(run())


async def test_keys_that_share_a_shard_are_of_one_moment() -> None:
    """A window does not move on between the charges of one hit."""
    clock = Ticking(0.0)
    store = MemoryStore(clock=clock)
    counter = store.counter("r", Quota(2, 0.05))
    for _ in range(200):
        for decision in await store.hit([(counter, str(key), 1) for key in range(80)]):
            assert 0 <= decision.remaining <= 2


@pytest.mark.parametrize("algorithm", ["sliding-window", "fixed-window", "token-bucket"])
async def test_a_look_beside_a_refusal_undoes_nothing(algorithm: Algorithm) -> None:
    """What costs nothing was not charged."""
    store = MemoryStore(clock=FakeClock())
    free = store.counter("free", Quota(5, 10.0), algorithm)
    full = store.counter("full", Quota(1, 10.0), algorithm)
    for admitted in (True, False, False):
        both = await store.hit([(free, "a", 0), (full, "a", 1)])
        assert [each.admitted for each in both] == [True, admitted]
        assert both[0].remaining == 5


async def test_no_bucket_is_filled_by_a_flood_of_keys() -> None:
    """What a key has used counts, also when its window has moved on and is full of others."""
    clock = FakeClock()
    store = MemoryStore(max_keys=4096, clock=clock)
    counter = store.counter("r", Quota(10, 10.0), "token-bucket")
    victims = [f"victim-{number}" for number in range(200)]  # of all shards
    for victim in victims:
        await store.hit([(counter, victim, 10)])
    clock.advance(1.0)  # some windows have moved on, and one token has come
    for number in range(2500):  # so many that few have to share a group
        await store.hit([(counter, str(number), 1)])
    for victim in victims:
        (decision,) = await store.hit([(counter, victim, 3)])
        assert not decision.admitted


async def test_a_bucket_of_another_count_goes_on_from_what_was_used() -> None:
    """What is missing of it stays missing, in the share of the quota that it was."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    for before, after in (
        (Quota(10, 10.0, 5), Quota(5, 10.0, 5)),
        (Quota(5, 10.0), Quota(10, 10.0)),
    ):
        name = f"{before.count}"
        full = store.counter(name, before, "token-bucket")
        assert (await store.hit([(full, "a", before.capacity)]))[0].admitted
        changed = store.counter(name, after, "token-bucket")
        assert not (await store.hit([(changed, "a", after.capacity)]))[0].admitted
        clock.advance(after.period * after.capacity / after.count)
        assert (await store.hit([(changed, "a", after.capacity)]))[0].admitted


async def test_tables_of_rules_that_are_gone_are_dropped_once_they_are_worth_nothing() -> None:
    """Not before their windows are over, and not while anybody counts in them."""
    clock = FakeClock()
    store = MemoryStore(clock=clock)
    held = store.counter("held", QUOTA)
    for number in range(50):
        await hit(store, (f"rule {number}", QUOTA, "a", 1))
        store.counter(f"unused {number}", QUOTA)
    assert len(store._tables) == 1 + 50 + 1
    assert not (await hit(store, ("rule 7", QUOTA, "a", 2)))[0].admitted
    clock.advance(40.0)
    store.counter("new", QUOTA)
    assert {name for name, *_ in store._tables} == {"held", "new"}
    assert store.counter("held", QUOTA)._table is held._table
