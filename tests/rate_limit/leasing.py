"""Workers that take leases, for the tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.rate_limit.stores.redis_counter import RedisCounter
from tests.stores.redis_server import RedisServer

LONG = 1e7  # seconds


@asynccontextmanager
async def working(server: RedisServer, workers: int) -> AsyncIterator[list[RedisStore]]:
    """Lend the stores of several workers."""
    stores = [RedisStore(server.url) for _ in range(workers)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.aclose()


async def admitted(store: RedisStore, counter: RedisCounter, key: str = "ann") -> bool:
    """Charge one unit."""
    (decision,) = await store.hit([(counter, key, 1)], within=5)
    return decision.admitted
