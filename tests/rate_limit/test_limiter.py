"""Rate limiting without HTTP."""

import asyncio

import pytest

from asgi_guard import ConfigurationError, MemoryStore, Quota, RateLimiter
from asgi_guard.testing import FakeClock


async def test_a_limiter_counts_by_key_and_cost() -> None:
    """What is left after each hit, and how long to wait for what is not."""
    limiter = RateLimiter("10/minute", store=MemoryStore(clock=FakeClock(0.0)))
    assert (await limiter.hit("ann", cost=7)).remaining == 3
    refused = await limiter.hit("ann", cost=4)
    assert not refused.admitted
    assert refused.retry_after is not None
    assert refused.retry_after > 0
    assert (await limiter.hit("bob")).remaining == 9


async def test_a_cost_above_the_quota_never_passes() -> None:
    """Waiting cannot help, and nobody is told to."""
    decision = await RateLimiter(Quota(3, 1.0)).hit("ann", cost=4)
    assert (decision.admitted, decision.retry_after) == (False, None)


async def test_concurrent_hits_admit_the_count_exactly() -> None:
    """There is no moment between reading and writing."""
    limiter = RateLimiter("50/hour")
    decisions = await asyncio.gather(*(limiter.hit("ann") for _ in range(400)))
    assert sum(decision.admitted for decision in decisions) == 50


async def test_limiters_share_a_store() -> None:
    """The same quota in the same store is the same counter."""
    store = MemoryStore(clock=FakeClock())
    first, second = RateLimiter("1/hour", store=store), RateLimiter("1/hour", store=store)
    assert (await first.hit("ann")).admitted
    assert not (await second.hit("ann")).admitted


async def test_limiters_of_other_quotas_do_not_share() -> None:
    """Though they share a store, and their periods are alike."""
    store = MemoryStore(clock=FakeClock())
    wide, tight = RateLimiter("100/minute", store=store), RateLimiter("2/minute", store=store)
    for _ in range(3):
        await wide.hit("ann")
    assert (await tight.hit("ann")).remaining == 1


@pytest.mark.parametrize("store", ["redis", "memory", "", None, object(), "memory:///x"])
def test_a_store_is_a_known_url_or_a_store(store: object) -> None:
    """Anything else is refused when the limiter is made."""
    with pytest.raises(ConfigurationError, match=r"RateLimiter\.store"):
        RateLimiter("1/hour", store=store)  # type: ignore[arg-type]


@pytest.mark.parametrize("cost", [-1, 1.5, "1"])
async def test_a_cost_is_a_whole_number(cost: int) -> None:
    """No hit gives units back."""
    with pytest.raises(ConfigurationError, match=r"cost"):
        await RateLimiter("1/hour").hit("ann", cost=cost)
