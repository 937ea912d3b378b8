"""Rate limiting without HTTP."""

import asyncio
from typing import Any

import pytest

from asgi_guard import ConfigurationError, Decision, MemoryStore, Quota, RateLimiter
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.testing import FakeClock
from tests.stores.redis_server import RedisServer


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


@pytest.mark.parametrize("key", [7, None, b"ann", ["secret"]])
async def test_a_key_is_a_string(key: Any) -> None:
    """Number 7 could be taken for something else, and Redis has no name for it."""
    with pytest.raises(ConfigurationError, match=r"RateLimiter\.hit\.key is a \w+ that is not"):
        await RateLimiter("1/hour").hit(key)


async def test_a_wrong_hit_is_nobody_elses(redis_server: RedisServer) -> None:
    """What travels to Redis together fails together, so it must not get that far."""
    store = RedisStore(redis_server.url)
    limiter = RateLimiter("1000/hour", store=store)
    wrong: Any = [("ann", 1), (7, 1), ("bob", 10**5000), ("cleo", 1)]
    hits = (limiter.hit(key, cost) for key, cost in wrong)
    answers = await asyncio.gather(*hits, return_exceptions=True)
    kinds = [type(answer) for answer in answers]
    assert kinds == [Decision, ConfigurationError, ConfigurationError, Decision]
    await store.aclose()


async def test_a_long_key_is_kept_as_its_hash() -> None:
    """Whatever a client has put into it."""
    store = MemoryStore(clock=FakeClock())
    limiter = RateLimiter("2/minute", store=store)
    assert [(await limiter.hit(f"{'x' * 10_000}{end}")).remaining for end in "aab"] == [1, 0, 1]
    kept = [key for shard in store._tables.popitem()[1].shards for key in shard.current]
    assert all(isinstance(key, str) and len(key) < 100 for key in kept)


@pytest.mark.parametrize("cost", [-1, 1.5, "1", 10**15])
async def test_a_cost_is_a_whole_number(cost: int) -> None:
    """No hit gives units back, and none costs more than a quota can be."""
    with pytest.raises(ConfigurationError, match=r"cost"):
        await RateLimiter("1/hour").hit("ann", cost=cost)
