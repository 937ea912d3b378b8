"""What people assemble on FastAPI today, each part with a configuration of its own.

slowapi limits, prometheus-fastapi-instrumentator measures, a middleware round an
`asyncio.Semaphore` caps, and a route says that all is well. slowapi looks endpoints up in
`app.routes`: on what comes from `include_router` its default limits silently do nothing, so all
routes here are direct.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIASGIMiddleware, SlowAPIMiddleware
from slowapi.util import get_remote_address

from asgi_guard._asgi import ASGIApp, Receive, Scope, Send
from tests.benchmarks.frames import fastapi
from tests.benchmarks.promises import answers, caps, reports, shows, throttles
from tests.benchmarks.stacks import Promise, Settings, Stack

_FIELDS = shows("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
_COUNTS = reports("http_requests_total")
_HEALTH = answers("/health")

Start = Callable[[Settings], FastAPI]
Part = Callable[[FastAPI, Settings], None]


class SemaphoreCap:
    """The cap that everybody writes."""

    def __init__(self, app: ASGIApp, at_once: int) -> None:
        self._app = app
        self._permits = asyncio.Semaphore(at_once)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the app with a permit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            async with self._permits:
                await self._app(scope, receive, send)


def _plain(_: Settings) -> FastAPI:
    return fastapi()


def _decorated(settings: Settings) -> FastAPI:
    limiter = Limiter(key_func=get_remote_address, headers_enabled=True)

    # The decorator finds both by their names, and needs the response for its header fields.
    async def hello(request: Request, response: Response) -> dict[str, Any]:
        return {"hello": "world"}

    app = fastapi(limiter.limit(settings.quota)(hello))
    _attach(limiter, app)
    return app


def _slowapi(app: FastAPI, settings: Settings) -> None:
    _attach(_limiter(settings), app)
    app.add_middleware(SlowAPIASGIMiddleware)


def _slowapi_classic(app: FastAPI, settings: Settings) -> None:
    _attach(_limiter(settings), app)
    app.add_middleware(SlowAPIMiddleware)


def _limiter(settings: Settings) -> Limiter:
    return Limiter(
        key_func=get_remote_address, default_limits=[settings.quota], headers_enabled=True
    )


def _attach(limiter: Limiter, app: FastAPI) -> None:
    app.state.limiter = limiter
    app.exception_handler(RateLimitExceeded)(_rate_limit_exceeded_handler)


def _semaphore(app: FastAPI, settings: Settings) -> None:
    app.add_middleware(SemaphoreCap, at_once=settings.at_once)


def _instrumentator(app: FastAPI, _: Settings) -> None:
    Instrumentator(registry=CollectorRegistry()).instrument(app).expose(app)


def _health(app: FastAPI, _: Settings) -> None:
    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "pass"}


def _stack(name: str, start: Start, parts: Sequence[Part], *promises: Promise) -> Stack:
    def build(settings: Settings) -> ASGIApp:
        app = start(settings)
        for add in parts:
            add(app, settings)
        return app

    return Stack(name, build, promises)


SLOWAPI_DECORATOR = _stack("slowapi decorator", _decorated, (), throttles, _FIELDS)
SLOWAPI_MIDDLEWARE = _stack("SlowAPIASGIMiddleware", _plain, (_slowapi,), throttles, _FIELDS)
PARTS = (
    SLOWAPI_DECORATOR,
    SLOWAPI_MIDDLEWARE,
    _stack("instrumentator", _plain, (_instrumentator,), _COUNTS),
    _stack("asyncio.Semaphore middleware", _plain, (_semaphore,), caps),
    _stack("/health route", _plain, (_health,), _HEALTH),
)
"""What people use, each part alone."""

_ALL = (throttles, _FIELDS, caps, _COUNTS, _HEALTH)
DECORATOR_STACK = _stack(
    "assembled, with the decorator", _decorated, (_semaphore, _instrumentator, _health), *_ALL
)
CLASSIC_STACK = _stack(
    "assembled, with SlowAPIMiddleware",
    _plain,
    (_semaphore, _slowapi_classic, _instrumentator, _health),
    *_ALL,
)
MIDDLEWARE_STACK = _stack(
    "assembled", _plain, (_semaphore, _slowapi, _instrumentator, _health), *_ALL
)
"""What people make of them. The middleware added last is the outermost: the same order as ours."""
