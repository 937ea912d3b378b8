"""Plain functions where async ones are needed: the mistake is the caller's."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest

from asgi_guard import CircuitBreaker, Downstream
from asgi_guard.testing import FakeClock
from tests.downstream.conftest import breaker, counts

Way: TypeAlias = Callable[[CircuitBreaker | None, Any], Awaitable[object]]


def five() -> int:
    """Return what cannot be awaited."""
    return 5


async def called(shop: CircuitBreaker | None, function: Any) -> object:
    """Call it through a downstream that would try again, and has a fallback."""
    stock = Downstream(
        "stock", breaker=shop, min_interval=0.0, retries=2, fallback=0, fallback_on="failure"
    )
    return await stock.call(function)


async def fetched(shop: CircuitBreaker | None, function: Any) -> object:
    """Fetch by it."""
    return await Downstream("stock", breaker=shop, min_interval=0.0).fetch("key", function)


async def acalled(shop: CircuitBreaker | None, function: Any) -> object:
    """Call it through a breaker."""
    assert shop is not None
    return await shop.acall(function)


@pytest.mark.parametrize("way", [called, fetched, acalled])
@pytest.mark.parametrize("settings", [{}, {"call_timeout": 9.0}])
async def test_it_is_said(clock: FakeClock, way: Way, settings: dict[str, Any]) -> None:
    """With what it was and what to do, and the downstream is not blamed for it."""
    shop = breaker(clock, **settings)
    with pytest.raises(TypeError, match=rf"five returned 5; .*{re.escape('asyncio.to_thread')}"):
        await way(shop, five)
    assert counts(shop) == (0, 0, 1, 0)


async def test_it_is_not_tried_again() -> None:
    """Without a breaker neither: it would end alike."""
    calls: list[int] = []
    with pytest.raises(TypeError, match="returned None"):
        await called(None, lambda: calls.append(1))
    assert calls == [1]


@pytest.mark.parametrize("way", [called, acalled])
async def test_what_can_be_awaited(clock: FakeClock, way: Way) -> None:
    """It need not be a coroutine."""

    class Ready:
        def __await__(self) -> Any:
            yield from ()
            return 7

    shop = breaker(clock)
    assert await way(shop, Ready) == 7
    assert counts(shop) == (1, 0, 0, 0)
