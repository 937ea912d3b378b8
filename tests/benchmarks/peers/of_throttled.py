"""throttled-py, with the algorithm that is its fastest, GCRA."""

from datetime import timedelta
from typing import Any

from throttled.asyncio import MemoryStore, RateLimiterType, RedisStore, Throttled
from throttled.asyncio.rate_limiter import Quota, per_duration

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers.middleware import Limited
from tests.benchmarks.peers.place import Place
from tests.benchmarks.peers.quotas import by_seconds
from tests.benchmarks.promises import limits as refuses
from tests.benchmarks.promises import limits_by_each
from tests.benchmarks.stacks import Settings, Stack

_KEYS = 1_000_000  # it forgets clients beyond 1,024 by default


def throttled(place: Place, limits: int) -> Stack:
    """Return it in a middleware: its own is a decorator, and costs more."""

    def build(settings: Settings) -> ASGIApp:
        url = place()
        store: MemoryStore | RedisStore
        if url is None:
            store, app = MemoryStore(options={"MAX_SIZE": _KEYS}), fastapi()
        else:
            store = RedisStore(url)
            client: Any = store._backend.get_client()  # which it has no way of closing
            app = fastapi(closes=client.aclose)
        limiters = [
            Throttled(
                using=RateLimiterType.GCRA.value,
                quota=_quota(quota),
                store=store,
                key_prefix=f"limit-{number}",
            )
            for number, quota in enumerate(settings.quotas[:limits])
        ]

        async def admits(client: str) -> bool:
            for limiter in limiters:
                if (await limiter.limit(client)).limited:
                    return False
            return True

        app.add_middleware(Limited, admits=admits)
        return app

    return Stack("throttled-py", build, (refuses, limits_by_each) if limits > 1 else (refuses,))


def _quota(quota: str) -> Quota:
    number, seconds = by_seconds(quota)
    return per_duration(timedelta(seconds=seconds), number)
