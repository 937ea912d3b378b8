"""The guards that the contract holds for, and the ways each of them refuses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry

from asgi_guard import (
    Breakers,
    CircuitBreaker,
    CircuitOpen,
    ConcurrencyLimit,
    Downstream,
    DownstreamBusy,
    Guard,
    Health,
    Metrics,
    RateLimit,
    Rule,
    Swappable,
    TrustedProxies,
    rate_limited,
)
from asgi_guard._asgi import ASGIApp, ASGIGuard
from tests.driver import Exchange, get, hello, http_scope


def full_stack() -> Guard:
    """Return a guard with every field set, that refuses nobody."""
    return Guard(
        proxies=TrustedProxies("10.0.0.0/8"),
        health=Health(),
        metrics=Metrics(registry=CollectorRegistry()),
        rate_limit=RateLimit("100000/second", messages=["100000/second"]),
        concurrency=ConcurrencyLimit(1000),
        breakers=[CircuitBreaker("payments")],
        downstreams=[Downstream("stock")],
    )


def swapped(guard: Guard) -> Swappable:
    """Return a guard that was put in the place of one which lets nobody in."""
    swappable = Swappable(Guard(rate_limit=RateLimit(Rule("1/hour", name="tight"))))
    swappable.swap(guard)
    return swappable


class SwappedLater:
    """A guard that is put in its place when it has wrapped an app."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Wrap the app, and swap."""
        swappable = Swappable(Guard())
        shell = swappable(app)
        swappable.swap(self._guard)
        return shell


GUARDS: dict[str, Callable[[], ASGIGuard]] = {
    "Breakers": lambda: Breakers([CircuitBreaker("payments")]),
    "ConcurrencyLimit": lambda: ConcurrencyLimit(1000),
    "Guard": full_stack,
    "Health": Health,
    "Metrics": lambda: Metrics(registry=CollectorRegistry()),
    "RateLimit": lambda: RateLimit("100000/second"),
    "Swappable": lambda: swapped(full_stack()),
    "TrustedProxies": lambda: TrustedProxies("10.0.0.0/8"),
}
"""Every guard of the package, set so that it refuses nothing."""


@dataclass(frozen=True)
class Refuser:
    """A guard, an app, and a state of things in which the guard refuses the next request."""

    guard: Callable[[], ASGIGuard]
    app: Callable[..., Any]
    full: Callable[[ASGIApp], Any]
    status: int
    takes_websockets: bool = True


async def raise_circuit_open(scope: Any, receive: Any, send: Any) -> None:
    """Fail as an app does whose breaker is open."""
    raise CircuitOpen("circuit 'payments' is not closed", 7.2, "payments")


async def raise_downstream_busy(scope: Any, receive: Any, send: Any) -> None:
    """Fail as an app does whose downstream is called too much."""
    raise DownstreamBusy("downstream 'stock' is busy", 7.2, "stock", "queue_full")


@asynccontextmanager
async def used_up(app: ASGIApp) -> AsyncIterator[None]:
    """Take the one unit there is."""
    await get().run(app)
    yield


@asynccontextmanager
async def occupied(app: ASGIApp) -> AsyncIterator[None]:
    """Hold the one permit there is: with a request whose client never sends its body."""
    waiting = asyncio.create_task(Exchange(http_scope("/slow")).run(app))
    await asyncio.sleep(0.01)
    yield
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@asynccontextmanager
async def as_it_is(app: ASGIApp) -> AsyncIterator[None]:
    """Change nothing."""
    yield


@rate_limited("1/hour")
async def limited_hello(scope: Any, receive: Any, send: Any) -> None:
    """Greet once an hour."""
    await hello(scope, receive, send)


async def slow_or_hello(scope: Any, receive: Any, send: Any) -> None:
    """Read the body first, then greet."""
    await receive()
    await hello(scope, receive, send)


REFUSERS: dict[str, Refuser] = {
    "RateLimit": Refuser(lambda: RateLimit("1/hour"), hello, used_up, 429),
    "rate_limited": Refuser(Guard, limited_hello, used_up, 429),
    "ConcurrencyLimit": Refuser(
        lambda: ConcurrencyLimit(1, max_waiting=0),
        slow_or_hello,
        occupied,
        503,
        takes_websockets=False,
    ),
    "Breakers": Refuser(Breakers, raise_circuit_open, as_it_is, 503),
    "Guard by its rate limit": Refuser(
        lambda: Guard(rate_limit=RateLimit("1/hour"), breakers=[CircuitBreaker("a")]),
        hello,
        used_up,
        429,
    ),
    "Guard by its breakers": Refuser(full_stack, raise_circuit_open, as_it_is, 503),
    "Swappable by its rate limit": Refuser(
        lambda: SwappedLater(Guard(rate_limit=RateLimit("1/hour"))), hello, used_up, 429
    ),
    "Swappable by its breakers": Refuser(
        lambda: SwappedLater(full_stack()), raise_circuit_open, as_it_is, 503
    ),
    "Guard by its downstreams": Refuser(
        lambda: Guard(downstreams=[Downstream("stock")]), raise_downstream_busy, as_it_is, 503
    ),
}
"""Every guard that can refuse, brought to where it does."""
