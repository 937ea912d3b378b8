"""Our stacks: each guard alone, and all of them as one `Guard`."""

from collections.abc import Callable

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from asgi_guard import (
    Breakers,
    CircuitBreaker,
    ConcurrencyLimit,
    Guard,
    Health,
    Metrics,
    RateLimit,
    Rule,
    header,
)
from asgi_guard._asgi import ASGIApp, ASGIGuard
from tests.benchmarks.frames import Frame
from tests.benchmarks.promises import (
    answers,
    answers_open_circuits,
    caps,
    reports,
    shows,
    throttles,
)
from tests.benchmarks.stacks import Promise, Settings, Stack

_COUNT = "http_server_request_duration_seconds_count"
_FIELDS = shows("ratelimit", "ratelimit-policy")


def our_stacks(frame: Frame) -> list[Stack]:
    """Return our stacks round a frame, the full one last."""
    return [
        rate_limit(frame),
        _stack(
            frame, "RateLimit(fields=None)", lambda to: RateLimit(to.quota, fields=None), throttles
        ),
        _stack(frame, "ConcurrencyLimit", lambda to: ConcurrencyLimit(to.at_once), caps),
        _stack(frame, "Breakers", lambda _: Breakers([_breaker()]), answers_open_circuits),
        _stack(frame, "Metrics", lambda _: Metrics(registry=CollectorRegistry()), reports(_COUNT)),
        _stack(frame, "Health", lambda _: Health(), answers("/livez"), answers("/health")),
        full_stack_of_rules(frame),
        full_stack(frame),
    ]


def rate_limit(frame: Frame) -> Stack:
    """Return the rate limit alone, with its header fields."""
    return _stack(frame, "RateLimit", lambda to: RateLimit(to.quota), throttles, _FIELDS)


def full_stack(frame: Frame) -> Stack:
    """Return all our guards as one configuration object, with one rule for everything."""
    return _full_stack(frame, "Guard", lambda to: RateLimit(to.quota))


def full_stack_of_rules(frame: Frame) -> Stack:
    """Return the same with the three rules of the README, of which one applies."""
    return _full_stack(
        frame,
        "Guard, README's 3 rules",
        lambda to: RateLimit(
            to.quota,
            Rule("5/minute", path="/login", methods={"POST"}),
            Rule("10000/hour", path="/api/*", key=header("x-api-key")),
        ),
    )


def _full_stack(frame: Frame, name: str, limit: Callable[[Settings], RateLimit]) -> Stack:
    return _stack(
        frame,
        name,
        lambda to: Guard(
            health=Health(),
            metrics=Metrics(registry=CollectorRegistry()),
            rate_limit=limit(to),
            concurrency=ConcurrencyLimit(to.at_once),
            breakers=[_breaker()],
        ),
        *(throttles, _FIELDS, caps, answers_open_circuits),
        *(reports(_COUNT), answers("/livez"), answers("/health")),
    )


def _stack(
    frame: Frame, name: str, guard: Callable[[Settings], ASGIGuard], *promises: Promise
) -> Stack:
    def build(settings: Settings) -> ASGIApp:
        app = frame()
        if isinstance(app, FastAPI):
            app.add_middleware(guard(settings))
            return app
        return guard(settings)(app)

    return Stack(name, build, promises)


def _breaker() -> CircuitBreaker:
    return CircuitBreaker("payments")
