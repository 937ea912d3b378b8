"""Breakers of several processes, before a real Redis: here each line stands for a process."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from typing import Any

import pytest

from asgi_guard import (
    Attempt,
    BreakerState,
    Cause,
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    SharedBreakers,
)
from tests.faults.proxy import proxy_in_thread
from tests.processes import HOST, free_port, until
from tests.stores.redis_server import RedisServer, RedisServers

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN
PROMISED = 0.1  # seconds within which others know
AT_ONCE = 0.5  # seconds that no call takes, for none asks a server

_names = count()


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server: the faults are the same before all of them."""
    return redis_servers.get("redis-8")


@contextmanager
def processes(url: str, number: int = 3, **more: Any) -> Iterator[list[CircuitBreaker]]:
    """Lend as many breakers of one name, each with a thread of its own, that know of each other."""
    name = f"payments {next(_names)}"
    settings = {"consecutive_failures": 3, "open_for": 0.5, "jitter": 0.0, "recover_after": 1}
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            shared = SharedBreakers(url)
            stack.callback(shared.close)
            made.append(CircuitBreaker(name, shared=shared, **{**settings, **more}))
            succeed(made[-1])
        yield made


def connected(breakers: list[CircuitBreaker]) -> None:
    """Wait until all of them listen."""
    for each in breakers:
        until(lambda each=each: each._share._trials.is_connected)  # type: ignore[misc]
    time.sleep(0.05)  # and have looked


def succeed(breaker: CircuitBreaker) -> None:
    """Make a call."""
    with breaker:
        pass


def trip(breaker: CircuitBreaker) -> None:
    """Let it trip."""
    for _ in range(3):
        with pytest.raises(OSError, match="down"), breaker:
            raise OSError("down")
    assert breaker.state is OPEN


def trial(breakers: list[CircuitBreaker]) -> CircuitBreaker:
    """Call all in turn until one makes a trial, which succeeds; return it."""

    def admitted() -> CircuitBreaker | None:
        for each in breakers:
            attempt = each.try_acquire()
            if attempt is not None:
                attempt.success()
                return each
        return None

    found = until(admitted, pause=0.005)
    assert found is not None
    return found


def states(breakers: list[CircuitBreaker]) -> set[BreakerState]:
    """Return their states."""
    return {each.state for each in breakers}


def test_they_open_together_and_recover_together(redis_server: RedisServer) -> None:
    """Soon; and the transitions say that it was another process."""
    late = []
    with processes(redis_server.url, open_for=0.3) as breakers:
        connected(breakers)
        heard: list[Cause] = []
        breakers[1].add_listener(lambda name, change: heard.append(change.cause))
        for _ in range(3):
            trip(breakers[0])
            began = time.perf_counter()
            until(lambda: states(breakers) == {OPEN}, pause=0.001)
            late.append(time.perf_counter() - began)
            with pytest.raises(CircuitOpen) as refused:
                succeed(breakers[2])
            assert 0 < (refused.value.retry_after or 0) <= 0.3
            until(lambda: states(breakers) == {HALF_OPEN})
            trial(breakers)
            began = time.perf_counter()
            until(lambda: states(breakers) == {CLOSED}, pause=0.001)
            late.append(time.perf_counter() - began)
    assert heard.count(Cause.SHARED) >= 3
    assert sorted(late)[len(late) // 2] < PROMISED


def test_what_is_heard_is_not_said_again(server: RedisServer) -> None:
    """One trip is one message, however many hear it."""
    with processes(server.url, 4, open_for=60.0) as breakers:
        connected(breakers)
        server.clear()
        trip(breakers[0])
        until(lambda: states(breakers) == {OPEN})
        time.sleep(0.1)
        assert server.calls("publish") == 1


def test_a_longer_open_time_is_heard_by_all(server: RedisServer) -> None:
    """A response that trips it, and asks for more peace than that, is obeyed by every process."""
    with processes(server.url, 2, open_for=5.0) as breakers:
        connected(breakers)
        trip(breakers[0])
        breakers[0].throttle(60.0)
        until(lambda: (breakers[1].retry_after or 0) > 50)


def test_redis_is_missed_once(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    """One line when it is gone, however often it is tried, and one when it is back."""
    with proxy_in_thread(server.port) as proxy:
        with processes(f"redis://{HOST}:{proxy.port}", 1) as breakers:
            connected(breakers)
            proxy.refuse()
            time.sleep(0.8)
            proxy.start()
            connected(breakers)
        lines = _lines(caplog)
    assert [line.split(":")[1] for line in lines] == [" Redis is out", " Redis is back"]
    assert "redis://" not in caplog.text


JUNK = [
    *(
        "",
        "hello",
        "open",
        "open somebody",
        "open somebody soon {name}",
        "open somebody 1.5 {name}",
    ),
    *(
        "open somebody -1 {name}",
        f"open somebody {'9' * 400} {{name}}",
        "OPEN somebody 60000 {name}",
    ),
    *(
        f"open somebody {'9' * 9000} {{name}}",
        "secret somebody 60000 {name}",
        "trial\n9\n9\n{name}",
    ),
]


@pytest.mark.parametrize("options", ["", "?decode_responses=true"])
def test_what_is_not_understood_is_no_outage(
    server: RedisServer, caplog: pytest.LogCaptureFixture, options: str
) -> None:
    """It is said once, without what it was; the line stays, and what is understood is heard."""
    with processes(f"{server.url}{options}", 2, open_for=60.0) as breakers:
        connected(breakers)
        with server.control() as connection:
            for each in JUNK:
                said = each.format(name=breakers[0].name)
                assert connection.publish("asgi_guard:breakers:0", said) >= 2
            hear = connection.publish("asgi_guard:breakers:0", b"\xff\xfe open")
        trip(breakers[0])
        until(lambda: states(breakers) == {OPEN})
        assert [sum(each.snapshot().transitions.values()) for each in breakers] == [1, 1]
        until(lambda: len(_lines(caplog)) >= 2)
    ignored = "shared breakers: what is not understood on their channel is ignored"
    # Each stands for a process; those of other tests may be on their way out.
    assert set(_lines(caplog)) == {ignored}
    assert 2 <= len(_lines(caplog)) <= hear
    assert "secret" not in caplog.text


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each for each in caplog.messages if each.startswith("shared breakers")]


def test_closed_breakers_say_nothing(server: RedisServer) -> None:
    """Not one command, however many calls succeed and fail."""
    with processes(server.url, 2, consecutive_failures=None, min_calls=10_000) as breakers:
        connected(breakers)
        server.clear()
        for number in range(2000):
            with breakers[number % 2] as guarded:
                assert guarded.state is CLOSED
            if not number % 10:
                with pytest.raises(OSError, match="down"), breakers[0]:
                    raise OSError("down")
        time.sleep(0.2)
        with server.control() as connection:
            counted: dict[str, Any] = connection.info("commandstats")
    ours = {"cmdstat_info", "cmdstat_config|resetstat", "cmdstat_client|setinfo", "cmdstat_hello"}
    assert set(counted) <= ours


def test_one_process_makes_the_trials(server: RedisServer) -> None:
    """While it does nobody else may, and when it fails all are open again."""
    with processes(server.url, 4) as breakers:
        connected(breakers)
        trip(breakers[0])
        until(lambda: states(breakers) == {HALF_OPEN})
        admitted = []
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            admitted += [each for each in map(CircuitBreaker.try_acquire, breakers) if each]
            time.sleep(0.002)
        assert len(admitted) == 1
        refused = [each.retry_after or 0.0 for each in breakers]
        assert min(refused) > 0
        admitted[0].failure()
        until(lambda: states(breakers) == {OPEN})
        until(lambda: states(breakers) == {HALF_OPEN})
        others = [each for each in breakers if each.snapshot().failure == 0]
        assert len(others) >= 2
        assert trial(others) in others, "whose lease it was is over"


def test_the_lease_of_a_dead_process_ends(server: RedisServer) -> None:
    """Then another one tries."""
    with processes(server.url, 2, trial_lease=1.0, open_for=0.2) as breakers:
        connected(breakers)
        trip(breakers[0])
        until(lambda: states(breakers) == {HALF_OPEN})
        until(breakers[0].try_acquire, pause=0.005)
        began = time.monotonic()
        assert trial(breakers[1:]) is breakers[1]
        assert 0.5 < time.monotonic() - began < 3
        until(lambda: states(breakers) == {CLOSED})


def test_a_lease_that_is_not_used_ends(server: RedisServer) -> None:
    """Who asked once, and has no more calls, holds nobody up for longer."""
    with processes(server.url, 2, trial_lease=1.0, open_for=0.2) as breakers:
        connected(breakers)
        trip(breakers[0])
        until(lambda: states(breakers) == {HALF_OPEN})
        assert breakers[0].try_acquire() is None
        time.sleep(0.2)  # it has the lease now
        assert breakers[1].try_acquire() is None
        time.sleep(0.2)
        assert breakers[1].try_acquire() is None
        assert 0.1 < (breakers[1].retry_after or 0) <= 0.2, "no longer than open_for"
        assert trial(breakers[1:]) is breakers[1]


def test_a_trial_is_told_to_who_had_the_lease_before(server: RedisServer) -> None:
    """A lease that was never used is good until somebody else tries, and no longer."""
    with processes(server.url, 2, trial_lease=1.0, open_for=0.2) as breakers:
        connected(breakers)
        trip(breakers[0])
        until(lambda: states(breakers) == {HALF_OPEN})
        assert breakers[0].try_acquire() is None
        time.sleep(1.2)  # it had the lease
        under_way = until(breakers[1].try_acquire, pause=0.005)
        assert under_way is not None
        time.sleep(0.1)
        assert breakers[0].try_acquire() is None
        under_way.success()
        until(lambda: states(breakers) == {CLOSED})


def test_who_comes_late_learns_of_it(server: RedisServer) -> None:
    """From the server, which keeps it for no shorter than it is open."""
    with processes(server.url, 1, open_for=60.0) as (first,):
        connected([first])
        trip(first)
        with server.control() as connection:
            keys = until(lambda: connection.keys("{asgi_guard}:breaker:*:open"))
            assert [first.name in key for key in keys] == [True]
            left = connection.pttl(keys[0])
            assert left >= (first.retry_after or 0) * 1000 - 1
        other = SharedBreakers(server.url)
        try:
            late = CircuitBreaker(first.name, shared=other)
            succeed(late)
            until(lambda: late.state is OPEN)
            assert 50 < (late.retry_after or 0) <= 60.1
        finally:
            other.close()


def test_prefixes_and_names_keep_them_apart(server: RedisServer) -> None:
    """Breakers of another name, prefix or database, and children of other keys, hear nothing."""
    with processes(server.url, 1) as (first,), ExitStack() as stack:
        apart = SharedBreakers(server.url, prefix="staging")
        other = SharedBreakers(server.url)
        second = SharedBreakers(f"{server.url}/1")
        for each in (apart, other, second):
            stack.callback(each.close)
        away = CircuitBreaker(first.name, shared=apart)
        beside = CircuitBreaker(first.name, shared=second)
        named = CircuitBreaker(f"{first.name} 2", shared=other)
        family = CircuitBreaker(first.name, shared=other, consecutive_failures=3)
        strangers = [away, beside, named]
        for breaker in (*strangers, family):
            succeed(breaker)
        connected([first, *strangers, family])
        trip(first)
        until(lambda: family.state is OPEN)
        family.close()
        assert states(strangers) == {CLOSED}
        child, twin = family.for_key("a"), first.for_key("a")
        for breaker in (child, twin):
            succeed(breaker)
        connected([child, twin])
        first.close()
        trip(child)
        until(lambda: twin.state is OPEN)
        time.sleep(0.1)
        assert (family.state, first.state, family.for_key("b").state) == (CLOSED, CLOSED, CLOSED)


@pytest.mark.parametrize("fault", ["refused", "silent", "frozen", "never there"])
def test_without_redis_each_goes_by_itself(server: RedisServer, fault: str) -> None:
    """No call waits for it, in any state; and what was missed is learnt when it is back."""
    slowest = 0.0

    def timed(call: Callable[[], object]) -> None:
        nonlocal slowest
        began = time.perf_counter()
        call()
        slowest = max(slowest, time.perf_counter() - began)

    with proxy_in_thread(server.port) as proxy, ExitStack() as stack:
        port = free_port() if fault == "never there" else proxy.port
        breakers = stack.enter_context(processes(f"redis://{HOST}:{port}", 2))
        if fault != "never there":
            connected(breakers)
        if fault == "refused":
            proxy.refuse()
            until(lambda: not breakers[0]._share._trials.is_connected)
        elif fault == "silent":
            proxy.silence()
        elif fault == "frozen":
            stack.enter_context(server.frozen())
        first, other = breakers
        timed(lambda: succeed(first))
        timed(lambda: trip(first))
        assert other.state is CLOSED
        timed(lambda: succeed(other))
        until(lambda: first.state is HALF_OPEN)
        end = time.monotonic() + 1.0
        attempts: list[Attempt] = []
        while not attempts and time.monotonic() < end:
            timed(lambda: attempts.extend(filter(None, [first.try_acquire()])))
        assert time.monotonic() < end, "at most a tenth of a second later than without"
        timed(attempts[0].success)
        assert first.state is CLOSED
        timed(lambda: first.throttle(30.0))
        until(lambda: not any(each._share._trials.is_connected for each in breakers[:1]))
        if fault != "never there":
            if fault == "refused":
                proxy.start()
            elif fault == "silent":
                proxy.heal()
            else:
                server.thaw()
            until(lambda: other.state is OPEN)
    assert slowest < AT_ONCE


def test_calls_from_threads_and_a_storm_leave_nothing_behind(server: RedisServer) -> None:
    """One process at a time trips, tries and recovers, and all end closed."""
    with processes(server.url, 3, open_for=0.05, trial_lease=0.5) as breakers:
        connected(breakers)
        down = threading.Event()
        down.set()

        def call(breaker: CircuitBreaker) -> None:
            with breaker:
                assert not down.is_set(), "down"

        def work(breaker: CircuitBreaker) -> None:
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                with suppress(AssertionError, CircuitOpen):
                    call(breaker)
                time.sleep(0.001)

        threads = [threading.Thread(target=work, args=(each,)) for each in breakers * 2]
        for thread in threads:
            thread.start()
        time.sleep(0.7)
        down.clear()
        for thread in threads:
            thread.join()

        def closed() -> bool:
            for each in breakers:
                with suppress(CircuitOpen):
                    succeed(each)
            return states(breakers) == {CLOSED}

        until(closed)
        assert all(each.snapshot().success for each in breakers)
        assert sum(each.snapshot().failure for each in breakers) >= 4, "a trip, and trials"


def test_what_hands_do_stays_in_the_process(server: RedisServer) -> None:
    """Opening and closing by hand; and a breaker that is disabled is not opened by others."""
    with processes(server.url, 3, open_for=60.0) as breakers:
        connected(breakers)
        breakers[0].force_open()
        breakers[1].disable()
        time.sleep(0.1)
        assert breakers[2].state is CLOSED
        trip(breakers[2])
        time.sleep(0.1)
        assert breakers[0].state is BreakerState.FORCED_OPEN
        assert breakers[1].state is BreakerState.DISABLED
        breakers[2].close()
        assert breakers[2].state is CLOSED


def test_one_url_is_one_thread() -> None:
    """For all breakers; and none is started before a breaker is used."""
    before = threading.active_count()
    url = f"redis://{HOST}:{free_port()}"
    made = [CircuitBreaker(f"b{number}", shared=url) for number in range(3)]
    assert threading.active_count() == before
    for each in made:
        succeed(each)
    assert threading.active_count() == before + 1
    began = time.monotonic()
    SharedBreakers.at(url).close()
    assert time.monotonic() - began < 1.0
    assert threading.active_count() == before
    succeed(CircuitBreaker("late", shared=url))
    assert threading.active_count() == before  # which was the end


@pytest.mark.parametrize(
    "wrong",
    [
        *("localhost", "http://localhost", "redis://localhost?max_connections=-1", "", 5, True),
        *("redis://localhost?colour=red", "redis+cluster://localhost:7000/1", "redis+cluster://"),
        *("redis+sentinel://localhost:1", "redis+sentinel://localhost/main", "cluster://localhost"),
    ],
)
def test_what_is_no_redis_is_refused(wrong: Any) -> None:
    """When it is made; without quoting what may hold a password."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.shared is"):
        CircuitBreaker("payments", shared=wrong)
    for prefix in ("", "{shop}"):
        with pytest.raises(ConfigurationError, match="prefix"):
            SharedBreakers("redis://localhost", prefix=prefix)
