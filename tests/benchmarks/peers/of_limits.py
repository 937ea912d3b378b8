"""limits: its asynchronous half, with the sliding window counter."""

from typing import Any

from limits import parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers.middleware import Limited
from tests.benchmarks.peers.place import Place
from tests.benchmarks.promises import limits as refuses
from tests.benchmarks.promises import limits_by_each
from tests.benchmarks.stacks import Settings, Stack


def limits(place: Place, limits: int) -> Stack:
    """Return it in a middleware; on Redis with redis-py."""

    def build(settings: Settings) -> ASGIApp:
        url = place()
        if url is None:
            app = fastapi()
            limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        else:
            storage = RedisStorage(f"async+{url}", implementation="redispy")
            bridge: Any = storage.bridge  # where its client is, which it has no way of closing
            app = fastapi(closes=bridge.storage.aclose)
            limiter = SlidingWindowCounterRateLimiter(storage)
        items = [parse(quota) for quota in settings.quotas[:limits]]

        async def admits(client: str) -> bool:
            for item in items:
                if not await limiter.hit(item, client):
                    return False
            return True

        app.add_middleware(Limited, admits=admits)
        return app

    return Stack("limits", build, (refuses, limits_by_each) if limits > 1 else (refuses,))
