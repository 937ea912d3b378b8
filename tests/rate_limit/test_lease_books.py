"""What a worker knows of its leases, and of those that it has asked for."""

import pytest

from asgi_guard import Quota
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.stores.leases import Lease, Leases, Waiting
from asgi_guard.rate_limit.stores.redis_counter import RedisCounter, redis_counter

NOW = 100.0
LATER = NOW + 1


def counter(rule: str = "rule") -> RedisCounter:
    """Return a counter that lends ten units at once."""
    return redis_counter(
        "", rule, Quota(1000, 60.0), "sliding-window", lease=10, workers=1, ban=None
    )


def leased(leases: Leases, *counters: RedisCounter) -> None:
    """Have a lease of each counter come, whole, and be used up."""
    for each in counters:
        leases.end(each.key, "ann", Lease(each, 1, NOW + 60, 900, NOW), NOW)
        assert leases.use(each.key, "ann", 1, NOW)


def begun(leases: Leases, of: RedisCounter) -> Waiting:
    """Ask for nine units more; return who waits for them."""
    extra = leases.begin(of.key, "ann", 9, NOW)
    waiting: Waiting = []
    leases.expect([(of, "ann", 1)], [extra], waiting, LATER)
    return waiting


def test_units_that_nobody_waits_for_are_not_asked_for_again() -> None:
    """So that a worker holds less than a lease, whatever is under way."""
    leases, one = Leases(), counter()
    leased(leases, one)
    begun(leases, one)
    assert leases.begin(one.key, "ann", 9, NOW) == 0
    assert leases.book([(one, "ann", 4)], LATER) is not None
    assert leases.begin(one.key, "ann", 9, NOW) == 4
    assert leases.begin(one.key, "ann", 9, NOW) == 0


def test_an_answer_ends_what_comes_with_it_alone() -> None:
    """What was asked for later is still to come."""
    leases, one = Leases(), counter()
    leased(leases, one)
    first = begun(leases, one)
    assert leases.book([(one, "ann", 9)], LATER) is first
    second = begun(leases, one)
    came = [(Decision(True, 890, 60.0, 0.0), 9)]
    leases.take([(one, "ann", 1)], [9], came, NOW, first)
    assert leases.book([(one, "ann", 9)], LATER) is second
    leases.take([(one, "ann", 1)], [9], came, NOW, second)
    assert leases.book([(one, "ann", 1)], LATER) is None


def test_what_comes_with_two_answers_is_not_waited_for() -> None:
    """Nor is it booked."""
    leases, one, other = Leases(), counter(), counter("other")
    leased(leases, one, other)
    begun(leases, one)
    begun(leases, other)
    assert leases.book([(one, "ann", 1), (other, "ann", 1)], LATER) is None
    assert leases.book([(one, "ann", 9)], LATER) is not None


@pytest.mark.parametrize("cost", [0, 10])
def test_what_does_not_suffice_is_not_waited_for(cost: int) -> None:
    """Nor is there anything to wait for who charges nothing."""
    leases, one = Leases(), counter()
    leased(leases, one)
    begun(leases, one)
    assert leases.book([(one, "ann", cost)], LATER) is None


def test_one_key_charged_twice_books_no_more_than_there_is() -> None:
    """Else more would be asked for than a lease has."""
    leases, one = Leases(), counter()
    leased(leases, one)
    begun(leases, one)
    assert leases.book([(one, "ann", 9), (one, "ann", 9)], LATER) is not None
    assert leases.begin(one.key, "ann", 9, NOW) == 9


def test_there_are_so_many_leases_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds no room takes no lease; those that are used up make room."""
    monkeypatch.setattr("asgi_guard.rate_limit.stores.leases._MOST", 3)
    leases, now, one = Leases(), 100.0, counter()
    for key in "abc":
        assert leases.begin("rule", key, 5, now) == 5
        leases.end("rule", key, Lease(one, 5, now + 60, 10, now), now)
    assert leases.begin("rule", "d", 5, now) == 0
    assert leases.use("rule", "a", 5, now) is not None
    assert leases.begin("rule", "d", 5, now + 2) == 5


def test_units_come_back_to_a_lease_that_has_grown_or_was_cleared_away() -> None:
    """Whoever is refused elsewhere meanwhile must not lose them."""
    leases, now, one = Leases(), 100.0, counter()
    assert leases.begin("rule", "ann", 5, now) == 5
    leases.end("rule", "ann", Lease(one, 5, now + 60, 10, now), now)
    used = leases.use("rule", "ann", 2, now)
    assert used is not None
    assert leases.begin("rule", "ann", 5, now) == 2
    leases.end("rule", "ann", Lease(one, 2, now + 50, 8, now), now)
    leases.put_back("rule", "ann", used, 2)
    assert leases.give_back(now) == [(one, "ann", -7)]
    leases.put_back("rule", "ann", used, 1)
    assert leases.give_back(now + 49) == [(one, "ann", -8)]
    assert leases.give_back(now + 49) == []


def test_units_are_worth_something_for_their_own_time() -> None:
    """Those that came first are used first, and end first."""
    one, now = counter(), NOW
    lease = Lease(one, 3, now + 60, 900, now)
    lease.add(Lease(one, 6, now + 100, 894, now))
    assert lease.lasts(now + 59)
    assert lease.units == 9
    assert lease.lasts(now + 60)
    assert lease.units == 6
    assert lease.lasts(now + 99)
    assert not lease.lasts(now + 100)


def test_a_lease_that_is_filled_up_again_and_again_goes_on() -> None:
    """None of its units outlives its time, and none is dropped before."""
    one = counter()
    lease = Lease(one, 9, NOW + 60, 900, NOW)
    for turn in range(1, 100):
        lease.units = 1  # of those that came last
        now = NOW + 10 * turn
        assert lease.lasts(now)
        lease.add(Lease(one, 8, now + 60, 900, now))
    assert lease.lasts(now + 49)
    assert lease.units == 9
    assert lease.lasts(now + 50)
    assert lease.units == 8


@pytest.mark.parametrize(("units", "short", "low"), [(9, False, 1), (9, True, -1)])
def test_a_lease_that_came_short_never_runs_low(units: int, short: bool, low: int) -> None:
    """There would be no more to fill it up with."""
    lease = Lease(counter(), units, LATER, 900, NOW, is_short=short)
    assert lease.low == low
    lease.add(Lease(counter(), 1, LATER, 900, NOW, is_short=not short))
    assert lease.low == (-1 if low == 1 else 1)
