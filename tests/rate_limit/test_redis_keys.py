"""What the Redis store keeps under a name, and for how long."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from asgi_guard import Quota
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.stores.redis import RedisStore
from tests.stores.redis_server import RedisServer

PERIOD = 0.3  # seconds; some windows of it pass in a test
SECOND = 1e6  # microseconds
ENDS: dict[Algorithm, Callable[[Sequence[float]], float]] = {
    "sliding-window": lambda kept: (kept[0] + 2) * PERIOD * SECOND,
    "fixed-window": lambda kept: (kept[0] + 1) * PERIOD * SECOND,
    "token-bucket": lambda kept: kept[0],
}


@pytest.mark.parametrize("algorithm", ENDS)
async def test_a_key_expires_when_it_no_longer_counts(
    redis_server: RedisServer, algorithm: Algorithm
) -> None:
    """Not sooner and hardly later, after any number of hits in any number of windows."""
    store = RedisStore(redis_server.url)
    counter = store.counter("r", Quota(1000, PERIOD, burst=2000), algorithm)
    name, seen = f"{counter.key}ann", 0
    for wait in (0.0, 0.0, 0.1, 0.1, 0.0, 0.25, 0.0, 0.05):
        await asyncio.sleep(wait)
        await store.hit([(counter, "ann", 100)])
        with redis_server.control() as control:
            expires: Any = control.pexpiretime(name)
        kept = redis_server.numbers(name)
        if kept:  # else it has ended meanwhile
            assert 0 <= expires - ENDS[algorithm](kept) / 1000 <= 3
            seen += 1
    assert seen >= 6
    await store.aclose()


@pytest.mark.parametrize("algorithm", ENDS)
async def test_a_key_that_is_new_has_an_end(
    redis_server: RedisServer, algorithm: Algorithm
) -> None:
    """Also where those who ask for it travel together."""
    store = RedisStore(redis_server.url)
    counter = store.counter("r", Quota(100, 1e7), algorithm)
    together = [store.hit([(counter, "ann", 1)]) for _ in range(3)]
    assert [each[0].remaining for each in await asyncio.gather(*together)] == [99, 98, 97]
    assert redis_server.calls("evalsha") == 1
    with redis_server.control() as control:
        ends: Any = control.pttl(f"{counter.key}ann")
    assert ends > 0
    await store.aclose()


async def test_a_window_is_told_its_end_once(redis_server: RedisServer) -> None:
    """To tell an end takes a server twice the work of the hit itself."""
    store = RedisStore(redis_server.url)
    counter = store.counter("r", Quota(1000, 1e7))
    for _ in range(5):
        await store.hit([(counter, "ann", 1)])
    await store.give_back([(counter, "ann", 2)], age=0.0)
    assert redis_server.numbers(f"{counter.key}ann")[2] == 3
    assert (redis_server.calls("set"), redis_server.calls("setrange")) == (1, 5)
    await store.aclose()


@pytest.mark.parametrize("algorithm", ENDS)
@pytest.mark.parametrize("value", ["", "17 3 4", "y" * 1000])
async def test_what_others_have_put_there_is_as_nothing(
    redis_server: RedisServer, algorithm: Algorithm, value: str
) -> None:
    """It is replaced, and has an end from then on."""
    store = RedisStore(redis_server.url)
    counter = store.counter("r", Quota(100, 1e7), algorithm)
    name = f"{counter.key}ann"
    with redis_server.control() as control:
        control.set(name, value)
        decisions = [(await store.hit([(counter, "ann", 1)]))[0] for _ in range(2)]
        assert [each.remaining for each in decisions] == [99, 98]
        ends: Any = control.pttl(name)
        assert ends > 0
    await store.aclose()
