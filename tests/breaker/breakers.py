"""Breakers for tests, and what they are tripped with."""

import asyncio
from typing import Any

import pytest

from asgi_guard import CircuitBreaker
from asgi_guard.testing import FakeClock


class DownError(Exception):
    """What the downstream raises."""


def fail() -> Any:
    """Fail, as a call does."""
    raise DownError


async def afail() -> Any:
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


def counted(it: CircuitBreaker) -> tuple[int, int, int, int]:
    """Return the successes, the failures, the ignored and the refused calls."""
    now = it.snapshot()
    return now.success, now.failure, now.ignored, now.not_permitted
