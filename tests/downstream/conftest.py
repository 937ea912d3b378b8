"""Servers that clients behind breakers call."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from asgi_guard import CircuitBreaker
from asgi_guard.testing import FakeClock
from tests.downstream.callers import KINDS
from tests.downstream.moody import Moody
from tests.faults.proxy import FaultProxy
from tests.processes import Children

LOOPS = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "uvloop": ("asyncio", {"use_uvloop": True}),
}
COMBINED = [
    (kind, loop) for kind in KINDS for loop in LOOPS if loop == "asyncio" or "-" not in kind
]


@pytest.fixture(scope="session")
def moody(children: Children) -> Iterator[Moody]:
    """Return the server that all tests share."""
    moody = Moody(children)
    yield moody
    moody.close()


@pytest.fixture
async def proxy(moody: Moody) -> AsyncIterator[FaultProxy]:
    """Return a proxy before that server, in the loop of the test."""
    async with FaultProxy(moody.port) as proxy:
        yield proxy


@pytest.fixture
def clock() -> FakeClock:
    """Return the time of breakers."""
    return FakeClock()


def breaker(clock: FakeClock, **settings: Any) -> CircuitBreaker:
    """Return a breaker that trips after three failures in a row, and is open for five seconds."""
    usual: dict[str, Any] = {"consecutive_failures": 3, "failure_rate": None, "jitter": 0.0}
    return CircuitBreaker("shop", **{**usual, "clock": clock, **settings})


def counts(of: CircuitBreaker) -> tuple[int, int, int, int]:
    """Return its calls so far: successes, failures, ignored, refused."""
    seen = of.snapshot()
    return seen.success, seen.failure, seen.ignored, seen.not_permitted
