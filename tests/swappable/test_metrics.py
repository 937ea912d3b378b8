"""Metrics over a swap: what is shown is the new guard's, nothing twice, and no count goes back."""

import gc
import random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_guard import (
    CircuitBreaker,
    CircuitOpen,
    ConcurrencyLimit,
    Guard,
    Metrics,
    RateLimit,
    Rule,
    Swappable,
)
from asgi_guard.metrics.collector import collector_for
from tests.driver import get, hello
from tests.swappable.swapping import Lobby, sample, samples

DECISIONS = "asgi_guard_rate_limit_decisions_total"
ACTIVE = "http_server_active_requests"


def measured(registry: CollectorRegistry, count: int, name: str = "all", cap: int = 8) -> Guard:
    """Return a guard with a rule, a cap and metrics."""
    return Guard(
        metrics=Metrics(registry=registry),
        rate_limit=RateLimit(Rule(f"{count}/hour", name=name), messages=["9/hour"]),
        concurrency=ConcurrencyLimit(cap, max_waiting=0),
    )


async def test_a_scrape_shows_the_new_guard_and_goes_on_counting() -> None:
    """A rule that is gone is not shown; one that comes back goes on from where it was."""
    registry = CollectorRegistry()
    swappable = Swappable(measured(registry, 3))
    app = swappable(hello)
    for _ in range(4):
        await get().run(app)
    assert sample(registry, DECISIONS, rule="all", decision="allowed") == 3
    assert sample(registry, DECISIONS, rule="all", decision="denied") == 1
    swappable.swap(measured(registry, 4, cap=9))
    assert sample(registry, DECISIONS, rule="all", decision="allowed") == 3
    assert sample(registry, "asgi_guard_concurrency_limit", limiter="requests") == 9
    for _ in range(2):
        await get().run(app)
    assert sample(registry, DECISIONS, rule="all", decision="allowed") == 4
    assert sample(registry, DECISIONS, rule="all", decision="denied") == 2
    swappable.swap(measured(registry, 4, "other"))
    assert sample(registry, DECISIONS, rule="all", decision="allowed") is None
    assert sample(registry, DECISIONS, rule="other", decision="allowed") == 0
    swappable.swap(measured(registry, 4))
    assert sample(registry, DECISIONS, rule="all", decision="allowed") == 4


async def test_requests_in_flight_are_measured_to_their_end() -> None:
    """Active before the swap and after it, and not below zero when they have left."""
    registry, lobby = CollectorRegistry(), Lobby()
    swappable = Swappable(measured(registry, 9))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 2)
    swappable.swap(measured(registry, 10, cap=3))
    (active,) = {name for name, _ in samples(registry) if "active" in name}
    in_flight = "asgi_guard_concurrency_in_flight"
    assert sum(value for (name, _), value in samples(registry).items() if name == active) == 2
    assert sample(registry, in_flight, limiter="requests") == 2
    lobby.door.set()
    for task in tasks:
        await task
    assert sum(value for (name, _), value in samples(registry).items() if name == active) == 0
    assert sample(registry, in_flight, limiter="requests") == 0


async def test_another_registry_gets_what_the_first_no_longer_shows() -> None:
    """And a guard without metrics shows nothing."""
    first, second = CollectorRegistry(), CollectorRegistry()
    swappable = Swappable(measured(first, 9))
    app = swappable(hello)
    await get().run(app)
    swappable.swap(measured(second, 9))
    assert sample(first, DECISIONS, rule="all", decision="allowed") is None
    assert sample(second, DECISIONS, rule="all", decision="allowed") == 1
    swappable.swap(Guard())
    assert sample(second, DECISIONS, rule="all", decision="allowed") is None
    assert (await get("/metrics").run(app)).body == b"hello"


async def test_counters_never_go_back_over_many_swaps() -> None:
    """Among guards whose rules, caps and stores differ at random."""
    chance, registry = random.Random(7), CollectorRegistry()
    swappable = Swappable(measured(registry, 5))
    app = swappable(hello)
    highest: dict[Any, float] = {}
    for _ in range(200):
        for _ in range(chance.randrange(4)):
            await get(client=("192.0.2.1", 1)).run(app)
        name = chance.choice(["all", "other"])
        swappable.swap(measured(registry, chance.randrange(1, 300), name, chance.randrange(1, 9)))
        for key, value in samples(registry).items():
            if key[0].endswith(("_total", "_count", "_bucket")):
                assert value >= highest.get(key, 0.0), key
                highest[key] = value
    assert sum(value for (name, _), value in highest.items() if name == DECISIONS) > 100


async def test_nothing_piles_up_over_a_thousand_swaps() -> None:
    """Not in the registry, not in the store, not in what is left to later stacks."""
    registry = CollectorRegistry()
    swappable = Swappable(measured(registry, 5))
    app = swappable(hello)

    async def swap_often(count: int) -> int:
        for number in range(count):
            name = f"rule {number % 20}"
            swappable.swap(measured(registry, 5 + number % 7, name, 2 + number % 3))
            assert len(collector_for(registry)._stacks) == 1
            await get(client=(f"192.0.2.{number % 5}", 1)).run(app)
        gc.collect()
        ours = (str(type(each).__module__) for each in gc.get_objects())
        return sum(module.startswith("asgi_guard.") for module in ours)

    before = await swap_often(100)
    assert await swap_often(1000) == before


async def test_refusals_that_came_too_late_are_counted_on() -> None:
    """A counter must not begin anew with each swap."""
    registry = CollectorRegistry()
    breaker = CircuitBreaker("payments")

    async def begin_and_fail(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise CircuitOpen("no", 1.0, "payments")

    def guard() -> Guard:
        return Guard(metrics=Metrics(registry=registry), breakers=[breaker])

    swappable = Swappable(guard())
    app = swappable(begin_and_fail)
    for _ in range(3):
        with pytest.raises(CircuitOpen):
            await get("/").run(app)
        swappable.swap(guard())
    assert sample(registry, "asgi_guard_circuit_edge_too_late_total") == 3
