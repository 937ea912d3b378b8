"""The conformance kit, on every store that there is."""

import pytest

from asgi_guard import MemoryStore
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.redis import RedisStore
from asgi_guard.testing import StoreCheck, store_checks
from tests.stores.redis_server import RedisServer

CHECKS = store_checks("sliding-window", "fixed-window", "token-bucket")


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in CHECKS], ids=[case[0] for case in CHECKS]
)
async def test_the_memory_store_conforms(check: StoreCheck, algorithm: Algorithm) -> None:
    """Alone in its process."""
    await check(MemoryStore(), algorithm)


@pytest.mark.parametrize(
    ("check", "algorithm"), [case[1:] for case in CHECKS], ids=[case[0] for case in CHECKS]
)
async def test_the_redis_store_conforms(
    check: StoreCheck, algorithm: Algorithm, redis_server: RedisServer
) -> None:
    """On Redis 8, Valkey 9 and Redis 7."""
    store = RedisStore(redis_server.url)
    try:
        await check(store, algorithm)
    finally:
        await store.aclose()
