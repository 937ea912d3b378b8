"""Children: a breaker for each key, never too many, and counters that never run backwards."""

import gc
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asgi_guard import BreakerState, CircuitBreaker, CircuitOpen, ConfigurationError
from asgi_guard.testing import FakeClock
from tests.breaker.breakers import breaker, counted, fail, trip

CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN


def test_a_key_has_a_breaker_of_its_own() -> None:
    """With the settings of its parent, whose state is another matter."""
    it = breaker()
    child = it.for_key("a.example")
    assert child is it.for_key("a.example")
    trip(child)
    assert (child.state, it.state, it.for_key("b.example").state) == (OPEN, CLOSED, CLOSED)
    with pytest.raises(CircuitOpen) as refused:
        child.call(fail)
    assert refused.value.breaker == child.name == "payments[a.example]"
    now = it.snapshot()
    assert (now.failure, now.not_permitted, now.window_calls) == (3, 1, 0)
    assert now.children == {OPEN: 1, CLOSED: 1}


@pytest.mark.parametrize("key", ["", "x" * 200, "bad\nkey", "ключ", "\ud800"])
def test_a_key_may_be_anything(key: str) -> None:
    """What cannot be shown is hashed, and told apart all the same."""
    it = breaker()
    child = it.for_key(key)
    assert child.name.isascii()
    assert child.name.isprintable()
    assert len(child.name) <= 100
    assert child.name != it.for_key(key + "2").name


def test_there_are_never_too_many() -> None:
    """The closed one that was asked for least recently makes room."""
    it = breaker(max_keys=3)
    first = it.for_key("1")
    it.for_key("2").call(lambda: None)
    it.for_key("3")
    assert it.for_key("1") is first
    it.for_key("4")
    assert it.for_key("1") is first
    assert it.for_key("2").snapshot().success == 0
    for number in range(1000):
        it.for_key(str(number))
    assert sum(it.snapshot().children.values()) == 3


def test_only_closed_ones_make_room() -> None:
    """To forget one that is open would be to call what is down; others share the parent."""
    it = breaker(max_keys=2)
    for key in ("a", "b"):
        trip(it.for_key(key))
    assert it.for_key("c") is it
    it.for_key("a").close()
    assert it.for_key("c") is not it
    assert it.for_key("b").state is OPEN


def test_one_that_made_room_counts_on_while_it_is_held() -> None:
    """Nothing that somebody counts with it is lost, then or when it is gone."""
    it = breaker(max_keys=1)
    held = it.for_key("a")
    attempt = held.attempt()
    it.for_key("b")
    attempt.success()
    held.call(lambda: None)
    assert counted(it) == (2, 0, 0, 0)
    del held, attempt
    gc.collect()
    it.for_key("c")
    assert counted(it) == (2, 0, 0, 0)
    assert len(it._children._departed) <= 1


def test_one_that_made_room_is_found_again_while_it_is_held() -> None:
    """A key never has two, one that is open and one that calls what is down."""
    it = breaker(max_keys=1)
    held = it.for_key("a")
    it.for_key("b")
    trip(held)
    assert it.for_key("a") is held
    assert it.snapshot().children == {OPEN: 1}
    assert it.for_key("b") is it, "and it is kept again: open, it makes no room"


def test_one_with_a_call_under_way_is_found_again() -> None:
    """Whose failure counts for who comes next."""
    it = breaker(max_keys=1, consecutive_failures=1)
    attempt = it.for_key("a").attempt()
    it.for_key("b")
    again = it.for_key("a")
    attempt.failure()
    assert again.state is OPEN
    assert counted(it) == (0, 1, 0, 0)


def test_where_there_is_no_room_what_is_held_is_found_as_well() -> None:
    """It takes none."""
    it = breaker(max_keys=1)
    held = it.for_key("a")
    trip(it.for_key("b"))
    assert it.for_key("a") is held
    assert it.for_key("c") is it
    assert it.snapshot().children == {OPEN: 1}
    held.call(lambda: None)
    del held
    assert it.for_key("a") is it
    assert counted(it) == (1, 3, 0, 0)


def test_those_that_made_room_are_let_go() -> None:
    """Without waiting for the collector: nothing is a circle."""
    it = breaker(max_keys=1)
    gc.disable()
    try:
        for number in range(100):
            it.for_key(str(number)).call(lambda: None)
        assert len(it._children._departed) <= 1
    finally:
        gc.enable()
    assert counted(it) == (100, 0, 0, 0)


Step = tuple[str, str]
STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["ok", "fail", "close", "throttle"])),
    max_size=60,
)


def numbers(it: CircuitBreaker) -> list[float]:
    """Return everything that may only grow."""
    now = it.snapshot()
    names = ("success", "failure", "ignored", "not_permitted", "slow", "late", "leases_expired")
    more = ("would_trip", "open_seconds", "fallbacks", "fallbacks_failed")
    counts: list[float] = [getattr(now, name) for name in (*names, *more)]
    return [*counts, *(now.transitions.get((x, y), 0) for x in BreakerState for y in BreakerState)]


def act(it: CircuitBreaker, step: str) -> None:
    """Do one thing with a breaker."""
    if step == "close":
        it.close()
    elif step == "throttle":
        it.throttle(5.0)
    else:
        with it.try_acquire() or breaker().attempt() as attempt:
            attempt.failure() if step == "fail" else attempt.success()
    it.core.clock.advance(1.0)  # type: ignore[attr-defined]


@settings(deadline=None)
@given(STEPS)
def test_counters_never_run_backwards(steps: list[Step]) -> None:
    """Whoever makes room, and whoever is held meanwhile."""
    it = breaker(max_keys=2, consecutive_failures=2)
    held: list[CircuitBreaker] = []
    before = numbers(it)
    for key, step in steps:
        child = it.for_key(key)
        held = [child, *held][:3]
        for each in held:
            act(each, step)
        now = numbers(it)
        assert all(x <= y for x, y in zip(before, now, strict=True))
        before = now


def test_threads_share_children() -> None:
    """A key has one breaker, and snapshots meanwhile never run backwards."""
    it = breaker(max_keys=4)
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.append(it.snapshot().success)

    def work(offset: int) -> None:
        for number in range(300):
            it.for_key(str((number + offset) % 9)).call(lambda: None)

    watcher = threading.Thread(target=watch, daemon=True)
    workers = [threading.Thread(target=work, args=(each,), daemon=True) for each in range(4)]
    watcher.start()
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    over.set()
    watcher.join()
    assert seen == sorted(seen)
    assert counted(it) == (1200, 0, 0, 0)


def test_listeners_of_the_parent_hear_of_children() -> None:
    """By their names."""
    it = breaker()
    heard: list[Any] = []
    it.add_listener(lambda name, change: heard.append((name, change.after)))
    trip(it.for_key("a"))
    assert heard == [("payments[a]", OPEN)]


def test_the_breaker_of_a_key_has_no_keys() -> None:
    """They would be counted by nobody, and bounded by nothing."""
    it = CircuitBreaker("hosts")
    with pytest.raises(ConfigurationError, match=r"for_key.*hosts\[a\] is for one key already"):
        it.for_key("a").for_key("b")


@pytest.mark.parametrize("seconds", [-1, "5", float("nan"), float("inf"), None])
def test_a_throttle_is_some_seconds(seconds: Any) -> None:
    """Whoever asks for it, by the breaker or by an attempt."""
    it = CircuitBreaker("hosts")
    for throttle in (it.throttle, it.attempt().throttle):
        with pytest.raises(ConfigurationError, match=r"throttle"):
            throttle(seconds)


def test_forced_open_twice_is_no_trip(caplog: pytest.LogCaptureFixture) -> None:
    """Only a breaker that tells, and does no more, would have opened."""
    it = CircuitBreaker("hosts")
    it.force_open()
    it.force_open(5.0)
    assert "would have" not in caplog.text


def test_children_that_were_open_make_room_once_they_may_be_tried() -> None:
    """Hosts that are dead, and that nobody calls again, must not keep out all others for ever."""
    clock = FakeClock()
    it = breaker(max_keys=3, clock=clock, open_multiplier=1.0)
    for key in "abc":
        trip(it.for_key(key))
    assert it.for_key("d") is it
    clock.advance(5.0)
    tried = it.for_key("a")
    with tried.attempt():
        for key in "bc":  # are asked for after it, and not tried
            it.for_key(key)
        assert it.for_key("d").name == "payments[d]"
        assert it.for_key("a") is tried
        assert it.for_key("c").snapshot().failure == 3


@pytest.mark.parametrize("hand", ["force_open", "disable", "metrics_only"])
def test_what_is_done_by_hand_holds_for_all_keys(hand: str) -> None:
    """Maintenance is of the whole downstream."""
    it = breaker()
    child = it.for_key("a")
    getattr(it, hand)()
    assert it.for_key("a") is it
    it.close()
    assert it.for_key("a") is child
