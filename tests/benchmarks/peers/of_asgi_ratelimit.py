"""asgi-ratelimit: a middleware of its own."""

from typing import Any

from ratelimit import RateLimitMiddleware, Rule
from ratelimit.backends.redis import RedisBackend
from ratelimit.backends.simple import MemoryBackend
from redis.asyncio import StrictRedis

from asgi_guard._asgi import ASGIApp, Scope
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers.place import Place
from tests.benchmarks.peers.quotas import by_unit
from tests.benchmarks.promises import limits_by_each, throttles
from tests.benchmarks.stacks import Settings, Stack


def asgi_ratelimit(place: Place, limits: int) -> Stack:
    """Return its middleware."""

    def build(settings: Settings) -> ASGIApp:
        url = place()
        backend: Any
        if url is None:
            make: Any = MemoryBackend  # has no types
            backend, app = make(), fastapi()
        else:
            client = StrictRedis.from_url(url)
            backend, app = RedisBackend(client), fastapi(closes=client.aclose)
        units: dict[str, Any] = dict(map(by_unit, settings.quotas[:limits]))
        units.pop("year", None)  # which it does not have: its refusals by three are not measured
        app.add_middleware(
            RateLimitMiddleware,
            authenticate=_client,
            backend=backend,
            config={"^/": [Rule(**units)]},
        )
        return app

    return Stack(
        "asgi-ratelimit", build, (throttles, limits_by_each) if limits > 1 else (throttles,)
    )


async def _client(scope: Scope) -> tuple[str, str]:
    # Its own function for this fails on private addresses.
    return scope["client"][0], "default"
