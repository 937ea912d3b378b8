"""Plain functions that return what is over later: futures, and what is awaited or entered."""

import asyncio
import concurrent.futures
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Self

import pytest

from asgi_guard import CallTimeout, CircuitBreaker, CircuitOpen, Outcome
from asgi_guard.testing import FakeClock
from tests.breaker.breakers import DownError, afail, breaker, counted, fail, trip

SUCCEEDED, FAILED, IGNORED = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0)


class Request:
    """Is awaited, or entered."""

    timeout = 3

    def __init__(self, error: BaseException | None = None, *, swallows: bool = False) -> None:
        self.error = error
        self.swallows = swallows
        self.left: list[object] = []

    async def begin(self) -> str:
        """Answer, or fail."""
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return "answer"

    def __await__(self) -> Generator[Any, Any, str]:
        """Answer."""
        return self.begin().__await__()

    async def __aenter__(self) -> str:
        """Answer."""
        return await self.begin()

    async def __aexit__(self, kind: object, error: object, traceback: object) -> bool:
        """Note it."""
        self.left.append(kind)
        return self.swallows


class Awaited:
    """Is awaited, and has more."""

    number = 3

    def __await__(self) -> Generator[Any, Any, int]:
        """Answer."""
        yield from asyncio.sleep(0).__await__()
        return self.number


class SelfEntered(Coroutine[Any, Any, str]):
    """Is a coroutine, and can be entered, as what the methods of aiohttp return."""

    def __init__(self, coroutine: Coroutine[Any, Any, str]) -> None:
        self.coroutine = coroutine

    def send(self, value: Any) -> Any:
        """Go on."""
        return self.coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise."""
        return self.coroutine.throw(*error)

    def close(self) -> None:
        """End."""
        self.coroutine.close()

    def __await__(self) -> Generator[Any, Any, str]:
        """Answer."""
        return self.coroutine.__await__()

    async def __aenter__(self) -> Self:
        """Enter."""
        await self.coroutine
        return self

    async def __aexit__(self, *error: object) -> None:
        """Leave."""


def started(waiting: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Return a task."""
    return asyncio.get_running_loop().create_task(waiting)


@pytest.mark.parametrize("more", [{}, {"call_timeout": 9.0}])
async def test_a_task_stays_a_task(more: dict[str, Any]) -> None:
    """It is called back and cancelled as it was without the breaker."""
    it = breaker(**more)
    done: list[object] = []
    task = it(started)(asyncio.sleep(0, "slept"))
    task.add_done_callback(done.append)
    assert (await task, counted(it)) == ("slept", SUCCEEDED)
    await asyncio.sleep(0)
    assert done == [task]
    failing = it(started)(afail())
    with pytest.raises(DownError):
        await failing
    assert counted(it) == (1, 1, 0, 0)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    "more", [{}, {"call_timeout": 9.0}, {"fallback": 1, "fallback_on": "failure"}, {"fallback": 1}]
)
async def test_who_cancels_it_cancels_the_call(more: dict[str, Any], *, begun: bool) -> None:
    """Also before it has begun; that says nothing, and nothing is left behind."""
    it = breaker(**more)
    inner = started(asyncio.sleep(60))
    task = it(lambda: inner)()
    for _ in range(3 * begun):
        await asyncio.sleep(0)
    assert task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait([inner])
    await asyncio.sleep(0)
    assert (inner.cancelled(), counted(it)) == (True, IGNORED)


async def test_the_very_same_future_comes_back() -> None:
    """Where nothing has to be put round it; one that is done is settled at once."""
    it = breaker(fallback="stale")
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    assert it(lambda: future)() is it.call(lambda: future) is future
    assert counted(it) == (0, 0, 0, 0)
    future.set_result("done")
    await asyncio.sleep(0)
    assert counted(it) == (2, 0, 0, 0)
    assert it.call(lambda: future) is future
    assert counted(it) == (3, 0, 0, 0)


async def test_an_error_that_nobody_retrieves_is_still_told() -> None:
    """The breaker looks at it, and does not silence it."""
    it = breaker()
    told: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    usual = loop.get_exception_handler()
    loop.set_exception_handler(lambda loop, context: told.append(context))
    it(started)(afail())
    for _ in range(4):
        await asyncio.sleep(0)
    loop.set_exception_handler(usual)
    assert counted(it) == FAILED
    assert [each["message"] for each in told] == ["Task exception was never retrieved"]


async def test_a_task_has_no_more_time_than_a_call() -> None:
    """Then it is cancelled, and ends with our error."""
    it = breaker(call_timeout=0.01)
    inner = started(asyncio.sleep(60))
    with pytest.raises(CallTimeout):
        await it(lambda: inner)()
    assert (inner.cancelled(), counted(it)) == (True, FAILED)


async def test_a_task_is_served_the_fallback() -> None:
    """As a task, whether it fails or is refused."""
    it = breaker(
        fallback="stale",
        fallback_on="failure",
        consecutive_failures=2,
        classify=lambda error, result: Outcome.FAILURE if result == "bad" else None,
    )
    ways = it(started)
    served = [ways(afail()), ways(asyncio.sleep(0, "bad"))]
    assert await asyncio.gather(*served) == ["stale", "stale"]
    refused = ways(None)  # type: ignore[arg-type]
    refused.add_done_callback(lambda done: None)
    assert (await refused, it.state.value) == ("stale", "open")


async def test_a_future_of_another_threads_loop() -> None:
    """Is settled there."""
    it = breaker()
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    assert await asyncio.to_thread(it(lambda: future)) is future
    await asyncio.sleep(0)
    future.set_exception(DownError())
    with pytest.raises(DownError):
        await future
    await asyncio.sleep(0)
    assert counted(it) == FAILED


def test_a_future_of_a_closed_loop_says_nothing() -> None:
    """It will never be done."""
    it = breaker()
    loop = asyncio.new_event_loop()
    future: asyncio.Future[str] = loop.create_future()
    loop.close()
    assert it(lambda: future)() is future
    assert counted(it) == (0, 0, 1, 0)


def test_a_future_of_a_pool_is_settled_when_it_is_done() -> None:
    """It failed, if it did; it was cancelled, if it was; and it may be late."""
    clock = FakeClock()
    it = breaker(clock=clock, call_timeout=1.0)
    ends = [concurrent.futures.Future[str]() for _ in range(4)]
    for each in ends:
        assert it(lambda each=each: each)() is each
    assert counted(it) == (0, 0, 0, 0)
    ends[0].set_result("done")
    ends[1].set_exception(DownError())
    ends[2].cancel()
    assert counted(it) == (1, 1, 1, 0)
    clock.advance(2.0)
    ends[3].set_result("late")
    assert counted(it) == (1, 2, 1, 0)


def test_a_call_in_a_pool_trips() -> None:
    """A function that submits others is worth guarding."""
    it = breaker()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                it(pool.submit)(divmod, 1, 0).result()
    assert it.state.value == "open"


@pytest.mark.parametrize("more", [{}, {"call_timeout": 9.0}, {"fallback": 1}])
async def test_what_can_be_entered_still_can(more: dict[str, Any]) -> None:
    """Or be awaited; it keeps its attributes."""
    it = breaker(**more)
    request = Request()
    async with it(lambda: request)() as entered:
        assert (entered, counted(it)) == ("answer", (0, 0, 0, 0))
    assert (request.left, counted(it)) == ([None], SUCCEEDED)
    assert await it(partial(Request))() == "answer"
    assert it(lambda: request)().timeout == 3
    assert counted(it) == (2, 0, 0, 0)


async def test_an_error_that_ends_the_block_is_that_of_the_call() -> None:
    """Unless the object swallows it; and its own errors are."""
    it = breaker()
    with pytest.raises(DownError):
        async with it(partial(Request))():
            raise DownError
    with pytest.raises(DownError):
        async with it(partial(Request))(DownError()):
            pass
    assert counted(it) == (0, 2, 0, 0)
    async with it(partial(Request))(swallows=True):
        fail()
    with pytest.raises(asyncio.CancelledError):
        async with it(partial(Request))():
            raise asyncio.CancelledError
    assert counted(it) == (1, 2, 1, 0)


async def test_an_object_that_fails_to_leave_has_failed() -> None:
    """Its error is that of the call."""
    it = breaker()

    class Broken(Request):
        async def __aexit__(self, *error: object) -> bool:
            raise DownError

    with pytest.raises(DownError):
        async with it(partial(Broken))():
            pass
    assert counted(it) == FAILED


async def test_what_is_entered_has_answered() -> None:
    """How long the block lasts is not slow, and not timed."""
    clock = FakeClock()
    it = breaker(clock=clock, slow_call=1.0, call_timeout=0.05)
    async with it(partial(Request))():
        clock.advance(9.0)
        await asyncio.sleep(0.06)
    assert (it.snapshot().slow, counted(it)) == (0, SUCCEEDED)


async def test_what_takes_too_long_to_enter_has_failed() -> None:
    """It is ended, or, where it will not be, has failed all the same."""
    it = breaker(call_timeout=0.01)

    class Hangs(Request):
        async def begin(self) -> str:
            await asyncio.sleep(60)
            return ""

    class Stubborn(Request):
        async def begin(self) -> str:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "late"
            return ""

    with pytest.raises(CallTimeout):
        async with it(partial(Hangs))():
            pass
    async with it(partial(Stubborn))() as entered:
        assert entered == "late"
    assert counted(it) == (0, 2, 0, 0)


async def test_it_is_settled_once() -> None:
    """Whatever is done with it after that."""
    it = breaker()
    request = it(partial(Request))()
    assert [await request, await request] == ["answer", "answer"]
    async with request as entered:
        assert entered == "answer"
    assert counted(it) == SUCCEEDED


async def test_an_object_that_is_awaited_keeps_what_it_has() -> None:
    """It is no coroutine, and does not become one."""
    it = breaker()
    awaited: Any = it(partial(Awaited))()
    assert awaited.number == 3
    assert not asyncio.iscoroutine(awaited)
    assert (await awaited, counted(it)) == (3, SUCCEEDED)


async def test_what_is_a_coroutine_besides_stays_one() -> None:
    """Tasks are made of it; one that is never begun says nothing."""
    it = breaker()

    def call(seconds: float = 0.0) -> SelfEntered:
        return SelfEntered(asyncio.sleep(seconds, "slept"))

    guarded = it(call)
    assert await asyncio.create_task(guarded()) == await guarded() == "slept"
    async with guarded():
        pass
    assert counted(it) == (3, 0, 0, 0)
    guarded().close()
    task = asyncio.create_task(guarded(60.0))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    begun = guarded(60.0)
    begun.send(None)
    begun.close()
    assert counted(it) == (3, 0, 3, 0)


async def test_with_a_fallback_for_failures_it_is_awaited() -> None:
    """There is nothing that could be entered."""
    it = breaker(fallback="stale", fallback_on="failure", consecutive_failures=2)
    call: Any = it(partial(Request, DownError()))
    assert [await call() for _ in range(3)] == ["stale"] * 3
    assert counted(it) == (0, 2, 0, 1)


async def test_what_is_refused_raises_before_there_is_anything() -> None:
    """As it does for every function."""
    it: CircuitBreaker = breaker()
    trip(it)
    with pytest.raises(CircuitOpen):
        it(partial(Request))()
