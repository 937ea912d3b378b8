"""Downstreams round an app: what is refused is answered, and what is known is shown."""

import asyncio
import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from asgi_guard import (
    Breakers,
    CircuitBreaker,
    CircuitOpen,
    Downstream,
    DownstreamBusy,
    Guard,
    Health,
    Metrics,
)
from tests.downstream.queue.skipping import turns
from tests.driver import connect, get, hello


async def nothing() -> str:
    """Answer."""
    return ""


def raising(error: Exception) -> Any:
    """Return an app that fails so."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    return app


BUSY = DownstreamBusy("downstream 'payments' is busy", 4.2, "payments", "queue_full")


@pytest.mark.parametrize(
    ("error", "wait", "why"),
    [
        (BUSY, "5", b"busy"),
        (ExceptionGroup("", [BUSY]), "5", b"busy"),
        (ExceptionGroup("", [BUSY, CircuitOpen("open", 9.0)]), "9", b"out of service"),
    ],
)
async def test_a_busy_downstream_is_503(error: Exception, wait: str, why: bytes) -> None:
    """With the longest wait of all, and no word of who it was."""
    for guard in (Breakers(), Guard(downstreams=[Downstream("payments")])):
        exchange = await get().run(guard(raising(error)))
        assert (exchange.status, exchange.headers["retry-after"]) == (503, wait)
        assert b"payments" not in exchange.body
        assert why in exchange.body


async def test_a_websocket_is_refused_too() -> None:
    """Before it is accepted."""
    exchange = await connect().run(Breakers()(raising(BUSY)))
    assert exchange.sent[0]["type"] in {"websocket.close", "websocket.http.response.start"}


async def test_health_and_metrics_show_it() -> None:
    """And its breaker, which nobody else has named; once for two stacks in one process."""
    breaker = CircuitBreaker("b")
    downstream = Downstream(
        "payments", breaker=breaker, max_concurrent=1, max_queue=2, fallback="none"
    )
    guard = Guard(
        health=Health(access=lambda scope: True),
        metrics=Metrics(registry=CollectorRegistry()),
        downstreams=[downstream],
    )
    guarded, _again = guard(hello), guard(hello)
    async with downstream.slot():
        waiting = [asyncio.create_task(downstream.call(nothing)) for _ in range(2)]
        await turns()
        assert await downstream.call(nothing) == "none"
        report = json.loads((await get("/health").run(guarded)).body)
        scraped = (await get("/metrics").run(guarded)).body.decode()
    await asyncio.gather(*waiting)
    assert report["status"] == "warn"
    assert report["checks"] == {
        "circuit:b": {"status": "pass", "state": "closed"},
        "downstream:payments": {
            "status": "warn",
            "in_flight": 1,
            "waiting": 2,
            "max_waiting": 2,
        },
    }
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(scraped)
        for sample in family.samples
        if sample.name.startswith("asgi_guard_client")
    }
    waited = found.pop(("asgi_guard_client_queue_wait_seconds_total", "payments"))
    assert waited == 0
    assert found == {
        ("asgi_guard_client_in_flight", "payments"): 1,
        ("asgi_guard_client_queue_depth", "payments"): 2,
        ("asgi_guard_client_starts_total", "payments"): 1,
        ("asgi_guard_client_queue_waits_total", "payments"): 0,
        ("asgi_guard_client_queue_rejected_total", "payments", "queue_full"): 1,
        ("asgi_guard_client_queue_rejected_total", "payments", "timeout"): 0,
        ("asgi_guard_client_queue_rejected_total", "payments", "circuit_open"): 0,
        ("asgi_guard_client_retries_total", "payments"): 0,
        ("asgi_guard_client_fallbacks_total", "payments", "fallback"): 1,
        ("asgi_guard_client_fallbacks_total", "payments", "last_result"): 0,
    }
    assert 'asgi_guard_circuit_state{breaker="b",state="closed"} 1.0' in scraped
    after = json.loads((await get("/health").run(guarded)).body)
    assert after["status"] == "pass"
