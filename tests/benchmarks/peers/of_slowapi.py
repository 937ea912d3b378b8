"""slowapi: a middleware round the synchronous half of `limits`, without header fields."""

from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware
from slowapi.util import get_remote_address

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers.place import Place
from tests.benchmarks.promises import limits as refuses
from tests.benchmarks.promises import limits_by_each
from tests.benchmarks.stacks import Settings, Stack


def slowapi(place: Place, limits: int) -> Stack:
    """Return its ASGI middleware, which it calls the faster one."""

    def build(settings: Settings) -> ASGIApp:
        app = fastapi()
        app.state.limiter = Limiter(
            key_func=get_remote_address,
            default_limits=list(settings.quotas[:limits]),
            storage_uri=place(),
        )
        app.exception_handler(RateLimitExceeded)(_rate_limit_exceeded_handler)
        app.add_middleware(SlowAPIASGIMiddleware)
        return app

    return Stack("slowapi", build, (refuses, limits_by_each) if limits > 1 else (refuses,))
