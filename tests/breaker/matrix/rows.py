"""The rows of the matrix: situations, and what a good breaker does in them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.breaker.matrix.breakers import OPEN_FOR, CallerError, DownError, Subject

_LONG_ENOUGH = 1.3 * OPEN_FOR
_MOMENT = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One situation.

    Attributes:
        title: What happens.
        wanted: What a good breaker does.
        run: Brings it about, and returns what the breaker does.
    """

    title: str
    wanted: str
    run: Callable[[Subject], Awaitable[str]]


def _raising(error: BaseException | None, ran: list[bool] | None = None) -> Any:
    async def function() -> None:
        if ran is not None:
            ran.append(True)
        await asyncio.sleep(0)
        if error is not None:
            raise error

    return function


async def call(it: Subject, error: BaseException | None = None) -> bool:
    """Call once; return whether it was admitted."""
    ran: list[bool] = []  # some say that they refuse of the very call that trips them
    with contextlib.suppress(it.refusal, DownError, CallerError):
        await it.guard(_raising(error, ran))()
    return bool(ran)


async def calls(it: Subject, letters: str) -> None:
    """Fail, be cancelled, or fail with what is to be ignored."""
    for letter in letters:
        if letter == "c":
            task = _begin(it, asyncio.Event())
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        else:
            await call(it, {"F": DownError(), "x": CallerError(), "S": None}[letter])


def _begin(
    it: Subject, end: asyncio.Event, error: BaseException | None = None
) -> "asyncio.Task[object]":
    async def function() -> None:
        await end.wait()
        if error is not None:
            raise error

    return asyncio.ensure_future(it.guard(function)())


async def _finish(end: asyncio.Event, *tasks: "asyncio.Task[object]") -> None:
    end.set()
    await asyncio.gather(*tasks, return_exceptions=True)


def _state_after(letters: str) -> Callable[[Subject], Awaitable[str]]:
    async def run(it: Subject) -> str:
        await calls(it, letters)
        return "closed" if await call(it) else "open"

    return run


async def _half_open(it: Subject) -> None:
    await calls(it, "FFF")
    await it.sleep(_LONG_ENOUGH)


async def _stampede(it: Subject) -> str:
    await _half_open(it)
    end = asyncio.Event()
    tasks = [_begin(it, end) for _ in range(50)]
    for _ in range(5):
        await asyncio.sleep(0)
    refused = sum(task.done() for task in tasks)
    await _finish(end, *tasks)
    return str(50 - refused)


def _trial(letter: str) -> Callable[[Subject], Awaitable[str]]:
    async def run(it: Subject) -> str:
        await _half_open(it)
        await calls(it, letter)
        if not await call(it, DownError()):
            return "open"
        return "closed" if await call(it) else "half-open"

    return run


async def _late_success(it: Subject) -> str:
    end = asyncio.Event()
    late = _begin(it, end)
    await asyncio.sleep(0)
    await calls(it, "FFF")
    await _finish(end, late)
    return "closed it" if await call(it) else "ignored"


async def _late_failure(it: Subject) -> str:
    end = asyncio.Event()
    late = _begin(it, end, DownError())
    await asyncio.sleep(0)
    await calls(it, "FFF")
    await it.sleep(0.7 * OPEN_FOR)
    await _finish(end, late)
    await it.sleep(0.6 * OPEN_FOR)
    return "ignored" if await call(it) else "extends"


async def _late_in_half_open(it: Subject) -> str:
    ends = asyncio.Event(), asyncio.Event()
    late = _begin(it, ends[0])
    await asyncio.sleep(0)
    await _half_open(it)
    trial = _begin(it, ends[1])
    await asyncio.sleep(0)
    await _finish(ends[0], late)
    admitted = await call(it, DownError())
    closed = admitted and await call(it)
    await _finish(ends[1], trial)
    return "closed it" if closed else "ignored"


async def _hung(it: Subject) -> str:
    await _half_open(it)
    end = asyncio.Event()
    trial = _begin(it, end)
    await asyncio.sleep(0)
    await it.sleep(3 * OPEN_FOR)
    try:
        async with asyncio.timeout(_MOMENT):
            admitted = await call(it)
    except TimeoutError:
        return "waits"
    finally:
        await _finish(end, trial)
    return "passes" if admitted else "refused"


async def _tripping(it: Subject) -> str:
    for _ in range(2):
        await call(it, DownError())
    try:
        await it.guard(_raising(DownError()))()
    except DownError:
        return "its own"
    except it.refusal:
        return "the breaker's"
    return "none"


async def _generator(it: Subject) -> str:
    async def items() -> AsyncIterator[int]:
        yield 1
        raise DownError

    for _ in range(3):
        try:
            async for _ in it.guard(items)():
                pass
        except TypeError:
            return "TypeError"
        except (DownError, it.refusal):
            pass
    return "not counted" if await call(it) else "counted"


ROWS = [
    Row("six calls are cancelled", "closed", _state_after("cccccc")),
    Row("failure, failure, cancelled, failure", "open", _state_after("FFcF")),
    Row("failure, failure, ignored error, failure", "open", _state_after("FFxF")),
    Row("50 calls at once when half-open: admitted", "1", _stampede),
    Row("the trial is cancelled", "half-open", _trial("c")),
    Row("the trial ends with an ignored error", "half-open", _trial("x")),
    Row("a call from before succeeds while open", "ignored", _late_success),
    Row("a call from before fails while open", "ignored", _late_failure),
    Row("a call from before succeeds while half-open", "ignored", _late_in_half_open),
    Row("a trial hangs: a call after three open times", "passes", _hung),
    Row("the error that the tripping call sees", "its own", _tripping),
    Row("an async generator fails three times", "counted", _generator),
]


async def cell(row: Row, make: Callable[[], Subject]) -> str:
    """Return what one breaker does in one situation."""
    return await row.run(make())
