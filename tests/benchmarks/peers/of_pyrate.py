"""pyrate-limiter, by itself and as the engine of fastapi-limiter, with a bucket for each client."""

import time
from inspect import isawaitable

from fastapi import Depends
from fastapi_limiter.depends import RateLimiter
from pyrate_limiter import (
    AbstractBucket,
    BucketFactory,
    InMemoryBucket,
    Limiter,
    Rate,
    RateItem,
    RedisStateStore,
    StateBucket,
)
from redis.asyncio import Redis

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers.middleware import Limited
from tests.benchmarks.peers.place import Place
from tests.benchmarks.peers.quotas import by_seconds
from tests.benchmarks.promises import limits as refuses
from tests.benchmarks.stacks import Settings, Stack


def pyrate_limiter(place: Place, limits: int) -> Stack:
    """Return it in a middleware."""

    def build(settings: Settings) -> ASGIApp:
        buckets = _Buckets(settings.quotas[:limits], place())
        limiter = Limiter(buckets)
        app = fastapi(closes=buckets.aclose)

        async def admits(client: str) -> bool:
            # Its asynchronous way lets only one client ask at a time.
            answer = limiter.try_acquire(client, blocking=False)
            return await answer if isawaitable(answer) else answer

        app.add_middleware(Limited, admits=admits)
        return app

    return Stack("pyrate-limiter", build, (refuses,))


def fastapi_limiter(place: Place, limits: int) -> Stack:
    """Return its dependency of a route."""

    def build(settings: Settings) -> ASGIApp:
        buckets = _Buckets(settings.quotas[:limits], place())
        limited = RateLimiter(Limiter(buckets))
        return fastapi(closes=buckets.aclose, dependencies=[Depends(limited)])

    return Stack("fastapi-limiter", build, (refuses,))


class _Buckets(BucketFactory):
    """A bucket for each client: its own default is one bucket for all."""

    def __init__(self, quotas: tuple[str, ...], url: str | None) -> None:
        split = [by_seconds(quota) for quota in quotas]
        self._rates = [Rate(number, 1000 * seconds) for number, seconds in split]
        self._redis = None if url is None else Redis.from_url(url)
        self._buckets: dict[str, AbstractBucket] = {}

    def wrap_item(self, name: str, weight: int = 1) -> RateItem:
        return RateItem(name, time.time_ns() // 1_000_000, weight=weight)

    def get(self, item: RateItem) -> AbstractBucket:
        bucket = self._buckets.get(item.name)
        if bucket is None:
            bucket = self._buckets[item.name] = self._make(item.name)
        return bucket

    def _make(self, name: str) -> AbstractBucket:
        if self._redis is None:
            return self.create(InMemoryBucket, self._rates)
        # Of constant size: nothing in it has to be swept, which would be done once for each client.
        return StateBucket(self._rates, store=RedisStateStore(self._redis, name))

    async def aclose(self) -> None:
        self.close()
        if self._redis is not None:
            await self._redis.aclose()
