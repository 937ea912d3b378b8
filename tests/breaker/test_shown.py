"""What guards show of breakers: metrics, readiness, and that one is shown at all."""

import gc
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_guard import Breakers, CircuitBreaker, CircuitOpen, Guard, Health, Metrics
from asgi_guard.breaker import registration
from asgi_guard.testing import FakeClock
from tests.breaker.breakers import breaker, trip
from tests.driver import get, hello


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return which breakers nobody shows, as far as the log tells."""
    return [each.getMessage() for each in caplog.records if each.name == "asgi_guard"]


def test_a_breaker_that_nobody_shows_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """With its children, and only where a guard is at work."""
    at_work = Guard()(hello)
    it = CircuitBreaker("alone")
    for _ in range(3):
        it.call(lambda: None)
        it.for_key("a").call(lambda: None)
    it.force_open()
    it.close()
    it.call(lambda: None)
    assert len(told(caplog)) == 1
    assert "AG004: circuit 'alone'" in told(caplog)[0]
    assert at_work is not None


def test_one_that_was_used_before_says_so_once_a_guard_is_at_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Frameworks build their stacks with the first request, after whatever warms up."""
    gc.collect()  # guards of other tests
    registration._at_work.clear()
    early, shown = CircuitBreaker("early"), CircuitBreaker("shown")
    early.call(lambda: None)
    shown.call(lambda: None)
    assert not told(caplog)
    at_work = Guard(breakers=[shown])(hello)
    assert len(told(caplog)) == 1
    assert "AG004: circuit 'early'" in told(caplog)[0]
    assert at_work is not None


@pytest.mark.parametrize("guard", [lambda it: Guard(breakers=[it]), lambda it: Breakers([it])])
def test_one_that_is_shown_says_nothing(guard: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nor do its children."""
    it = CircuitBreaker("shown")
    child = it.for_key("early")
    at_work = guard(it)(hello)
    for each in (it, child, it.for_key("late")):
        each.call(lambda: None)
    assert told(caplog) == []
    assert at_work is not None


async def status(app: Any, path: str) -> int:
    """Return the status of an answer."""
    return (await get(path).run(app)).status


@pytest.mark.parametrize("critical", [True, False])
async def test_a_critical_breaker_decides_on_readiness(*, critical: bool) -> None:
    """While it is open; half-open it must get traffic, or it would never be tried."""
    clock = FakeClock()
    it = breaker(critical=critical, clock=clock)
    app = Guard(health=Health(), breakers=[it])(hello)
    bad = 503 if critical else 200
    found = [await status(app, "/readyz")]
    trip(it)
    found += [await status(app, path) for path in ("/readyz", "/health", "/livez")]
    clock.advance(5.0)
    found.append(await status(app, "/readyz"))
    it.force_open()
    found.append(await status(app, "/readyz"))
    it.metrics_only()
    found.append(await status(app, "/readyz"))
    assert found == [200, bad, bad, 200, 200, bad, 200]


async def test_everything_is_scraped() -> None:
    """And no label comes from a key."""
    clock = FakeClock()
    it = breaker(clock=clock, fallback="stale")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        raise CircuitOpen("late", 1.0)

    metrics = Metrics(registry=CollectorRegistry())
    guarded = Guard(metrics=metrics, breakers=[it])(app)
    trip(it)
    it.call(lambda: "fresh")
    clock.advance(3.0)
    it.for_key("secret").call(lambda: None)
    with pytest.raises(CircuitOpen):
        await get().run(guarded)
    text = (await get("/metrics").run(guarded)).body.decode()
    for line in (
        'asgi_guard_circuit_state{breaker="payments",state="open"} 1.0',
        'asgi_guard_circuit_state{breaker="payments",state="forced_open"} 0.0',
        'asgi_guard_circuit_calls_total{breaker="payments",outcome="success"} 1.0',
        'asgi_guard_circuit_fallbacks_total{breaker="payments",result="served"} 1.0',
        'asgi_guard_circuit_open_seconds_total{breaker="payments"} 3.0',
        'asgi_guard_circuit_window_failure_ratio{breaker="payments"} 1.0',
        'asgi_guard_circuit_children{breaker="payments",state="closed"} 1.0',
        "asgi_guard_circuit_edge_too_late_total 1.0",
    ):
        assert line in text
    assert "secret" not in text
