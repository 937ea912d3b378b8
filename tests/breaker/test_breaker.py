"""The breaker where calls are made: blocks, decorated functions, threads and tasks."""

import asyncio
import functools
import logging
import pickle
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from asgi_guard import (
    BreakerState,
    CircuitBreaker,
    CircuitOpen,
    ConcurrencyExceeded,
    ConfigurationError,
)
from asgi_guard.breaker.blocks import _entered
from asgi_guard.testing import FakeClock

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class DownError(Exception):
    """What the downstream raises."""


def fail() -> None:
    """Fail, as a call does."""
    raise DownError


async def afail() -> None:
    """Fail, as an async call does."""
    await asyncio.sleep(0)
    raise DownError


def breaker(**more: Any) -> CircuitBreaker:
    """Return a breaker that trips on three failures in a row."""
    return CircuitBreaker(
        "payments", **{"consecutive_failures": 3, "jitter": 0.0, "clock": FakeClock(), **more}
    )


def trip(it: CircuitBreaker) -> None:
    """Let three calls fail."""
    for _ in range(3):
        with pytest.raises(DownError):
            it.call(fail)
    assert it.state is OPEN


def in_block(it: CircuitBreaker) -> None:
    """Fail inside `with`."""
    with it:
        fail()


def decorated(it: CircuitBreaker) -> None:
    """Fail in a decorated function."""
    it(fail)()


def called(it: CircuitBreaker) -> None:
    """Fail in `call()`."""
    it.call(fail)


async def in_async_block(it: CircuitBreaker) -> None:
    """Fail inside `async with`."""
    async with it:
        await afail()


async def decorated_async(it: CircuitBreaker) -> None:
    """Fail in a decorated async function."""
    await it(afail)()


async def acalled(it: CircuitBreaker) -> None:
    """Fail in `acall()`."""
    await it.acall(afail)


async def decorated_partial(it: CircuitBreaker) -> None:
    """Fail in a decorated partial."""
    await it(functools.partial(afail))()


async def decorated_disguise(it: CircuitBreaker) -> None:
    """A plain function that returns a coroutine is over when the coroutine is."""
    await it(lambda *_: afail())()


@pytest.mark.parametrize("use", [in_block, decorated, called])
def test_sync_calls_trip_and_are_refused(use: Any) -> None:
    """Three times the call's own error, then the breaker's."""
    it = breaker()
    for _ in range(3):
        with pytest.raises(DownError):
            use(it)
    with pytest.raises(CircuitOpen) as refused:
        use(it)
    assert (refused.value.breaker, refused.value.retry_after) == ("payments", 5.0)
    assert it.snapshot().not_permitted == 1


@pytest.mark.parametrize(
    "use", [in_async_block, decorated_async, acalled, decorated_partial, decorated_disguise]
)
async def test_async_calls_trip_and_are_refused(use: Any) -> None:
    """Three times the call's own error, then the breaker's."""
    it = breaker()
    for _ in range(3):
        with pytest.raises(DownError):
            await use(it)
    with pytest.raises(CircuitOpen):
        await use(it)


def test_a_decorated_function_stays_what_it_was() -> None:
    """Name, documentation, arguments and result."""
    it = breaker()

    @it
    def add(a: int, *, b: int = 1) -> int:
        """Add."""
        return a + b

    assert (add(1, b=2), add.__name__, add.__doc__) == (3, "add", "Add.")


async def test_it_recovers_through_trials() -> None:
    """Open, half-open, closed; the first trial alone is not enough."""
    clock = FakeClock()
    it = breaker(clock=clock)
    trip(it)
    clock.advance(5.0)
    assert it.state is HALF_OPEN
    async with it:
        with pytest.raises(CircuitOpen):
            it.call(fail)
    assert it.state is HALF_OPEN
    async with it:
        pass
    assert it.state is CLOSED


async def test_fifty_at_once_are_one_trial() -> None:
    """No stampede: the others are refused at once."""
    clock = FakeClock()
    it = breaker(clock=clock)
    trip(it)
    clock.advance(5.0)
    go = asyncio.Event()
    waiting = [asyncio.create_task(it.acall(go.wait)) for _ in range(50)]
    await asyncio.sleep(0)
    assert sum(not task.done() for task in waiting) == 1
    go.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(result, CircuitOpen) for result in results) == 49


async def test_cancelled_calls_are_neither() -> None:
    """Closed they do not trip; half-open they give their place back."""
    clock = FakeClock()
    it = breaker(clock=clock, fail_on=BaseException)

    async def cancelled() -> None:
        task = asyncio.create_task(it.acall(asyncio.sleep, 60))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    for _ in range(6):
        await cancelled()
    assert it.state is CLOSED
    trip(it)
    clock.advance(5.0)
    await cancelled()
    assert it.state is HALF_OPEN
    assert it.call(lambda: "a trial") == "a trial"
    assert it.snapshot().ignored == 7


class CallerError(DownError):
    """What the downstream raises for the caller's own mistake."""


@pytest.mark.parametrize(
    ("error", "fails"),
    [
        (DownError(), True),
        (CallerError(), False),
        (KeyError(), False),
        (KeyboardInterrupt(), False),
        (ConcurrencyExceeded("full"), False),
        (ExceptionGroup("", [CallerError(), DownError()]), True),
        (ExceptionGroup("", [CallerError(), CircuitOpen("")]), False),
    ],
)
def test_errors_are_told_apart(error: BaseException, *, fails: bool) -> None:
    """What is listed fails; what is to be ignored, unlisted, or ours does not."""
    it = breaker(fail_on=(DownError,), ignore=CallerError, consecutive_failures=1)

    def raise_it() -> None:
        raise error

    with pytest.raises(type(error)):
        it.call(raise_it)
    assert it.state is (OPEN if fails else CLOSED)


def test_ignored_errors_do_not_end_a_row_of_failures() -> None:
    """They are neither: not a success, either."""
    it = breaker(ignore=KeyError)
    for error in (DownError, DownError, KeyError, DownError):
        with pytest.raises(error), it:
            raise error
    assert it.state is OPEN


async def test_blocks_in_tasks_and_in_each_other_are_told_apart() -> None:
    """Each block settles the call that it began."""
    it = breaker()
    begun = asyncio.Event()

    async def late() -> None:
        async with it:
            begun.set()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(late())
    await begun.wait()
    async with it, it:
        pass
    trip(it)
    await task  # began before the trip: says nothing after it
    assert it.state is OPEN
    assert it.snapshot().success == 3


def test_a_block_may_end_in_another_context() -> None:
    """As a sync dependency of FastAPI does: entered in one thread's context, left in another's."""
    it = breaker()
    for _ in range(3):
        copy_context().run(it.__enter__)
        copy_context().run(it.__exit__, DownError, DownError(), None)
    assert it.state is OPEN


def in_contexts_of_its_own(it: CircuitBreaker) -> Any:
    """Hold a block as a sync dependency does: each step runs in another context."""

    def held() -> Iterator[None]:
        with it:
            yield

    block = held()
    copy_context().run(next, block)
    return lambda: copy_context().run(next, block, None)


def test_a_call_that_hangs_in_another_context_wedges_nothing() -> None:
    """A trial's success is the trial's, though an older block is still open."""
    clock = FakeClock()
    it = breaker(clock=clock)
    end_of_hanging = in_contexts_of_its_own(it)
    trip(it)
    clock.advance(5.0)
    for _ in range(2):
        in_contexts_of_its_own(it)()
    assert it.state is CLOSED
    end_of_hanging()
    assert it.snapshot().success == 3


async def test_blocks_that_have_ended_leave_the_context() -> None:
    """A task that is begun within a block inherits it, and passes nothing on for ever."""
    it = breaker()
    lengths: list[int] = []

    async def step(left: int) -> None:
        async with it:
            lengths.append(len(_entered.get()))
            following = asyncio.create_task(step(left - 1)) if left else None
        if following is not None:
            await following

    await step(50)
    assert max(lengths) <= 2


def test_leaving_what_was_not_entered_is_an_error() -> None:
    """And says so."""
    with pytest.raises(RuntimeError, match="had not begun"):
        breaker().__exit__(None, None, None)


def test_threads_share_one_breaker() -> None:
    """Nothing is lost between them, and none waits for another's call."""
    it = breaker()
    together = threading.Barrier(8)

    def work() -> None:
        with it:
            together.wait(timeout=10)  # all eight are inside at once
        for _ in range(500):
            it.call(lambda: None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert it.snapshot().success == 8 * 501


def test_each_change_is_one_log_line(caplog: pytest.LogCaptureFixture) -> None:
    """A trip is a warning that tells the counts; recovery is news; refusals are silent."""
    clock = FakeClock()
    it = breaker(clock=clock)
    with caplog.at_level(logging.DEBUG, "asgi_guard"):
        trip(it)
        for _ in range(10):
            with pytest.raises(CircuitOpen):
                it.call(fail)
        clock.advance(5.0)
        for _ in range(2):
            it.call(lambda: None)
    lines = [
        (record.levelname, record.getMessage())
        for record in caplog.records
        if record.name == "asgi_guard.breaker"
    ]
    assert lines == [
        ("WARNING", "circuit 'payments': closed -> open: consecutive failures: 3"),
        ("INFO", "circuit 'payments': open -> half-open: open time over"),
        ("INFO", "circuit 'payments': half-open -> closed: 2 trials succeeded"),
    ]


def test_a_refusal_survives_a_process_boundary() -> None:
    """Workers send errors to each other pickled."""
    error = pickle.loads(pickle.dumps(CircuitOpen("no", 3.0, "payments")))
    assert (str(error), error.retry_after, error.breaker) == ("no", 3.0, "payments")
    wrong = pickle.loads(pickle.dumps(ConfigurationError("a", 1, "2")))
    assert str(wrong) == "a is 1; allowed: 2"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("consecutive_failures", 0),
        ("failure_rate", 0),
        ("failure_rate", 1.1),
        ("failure_rate", 50),
        ("min_calls", 0),
        ("window", 0),
        ("open_for", -1),
        ("open_for", float("inf")),
        ("max_trials", 0),
        ("recover_after", 0),
        ("trial_lease", 0),
        ("fail_on", "OSError"),
        ("fail_on", ()),
        ("clock", 5),
        ("clock", asyncio.sleep),
        ("clock", list),
        ("ignore", (OSError, "x")),
    ],
)
def test_a_wrong_setting_is_named(field: str, value: object) -> None:
    """The field, the value and the range."""
    with pytest.raises(ConfigurationError) as raised:
        CircuitBreaker(**{"name": "x", field: value})  # type: ignore[arg-type]
    assert raised.value.field == f"CircuitBreaker.{field}"


def test_a_clock_is_not_awaited() -> None:
    """It would never tell the time."""

    async def clock() -> float:
        return 0.0

    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.clock"):
        CircuitBreaker("x", clock=clock)  # type: ignore[arg-type]


def test_a_breaker_can_trip() -> None:
    """Settings that make it impossible are refused."""
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.failure_rate"):
        CircuitBreaker("x", consecutive_failures=None, failure_rate=None)
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.fail_on"):
        CircuitBreaker("x", ignore=Exception)


def test_a_thread_may_come_by_again_while_it_holds_the_lock() -> None:
    """As it does in a handler of a signal, or where it collects a generator that was left."""
    it = breaker()
    done: list[BreakerState] = []

    def come_by() -> None:
        with it.core.lock:
            it.call(lambda: None)
            done.append(it.state)

    thread = threading.Thread(target=come_by, daemon=True)
    thread.start()
    thread.join(5)
    assert done == [CLOSED]


def test_what_is_called_may_be_a_class_with_a_fallback_too() -> None:
    """To call is not to decorate."""
    it = breaker(fallback={})
    assert it.call(dict, a=1) == {"a": 1}
    it.force_open()
    assert it.call(dict, a=1) == {}
