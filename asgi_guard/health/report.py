"""The report: everything that is known about the health of one stack."""

import asyncio
from collections.abc import Mapping

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.states import BreakerState
from asgi_guard.health.check import Status
from asgi_guard.health.runner import Result, Runner
from asgi_guard.parts import Parts

_SEVERITY = [Status.PASS, Status.WARN, Status.FAIL]

Component = dict[str, object]

_QUIET = {BreakerState.CLOSED, BreakerState.METRICS_ONLY}
_REFUSES = {BreakerState.OPEN, BreakerState.FORCED_OPEN}


def circuit_status(breaker: CircuitBreaker) -> Status:
    """Tell whether the app can do without this breaker's downstream, as it is.

    Half-open is no failure: an app that is not ready gets no traffic, and nobody would ever try.
    """
    return Status.FAIL if breaker.critical and breaker.state in _REFUSES else Status.PASS


async def run_checks(runners: Mapping[str, Runner]) -> dict[str, Result]:
    """Ask all at once."""
    results = await asyncio.gather(*(runner.result() for runner in runners.values()))
    return dict(zip(runners, results, strict=True))


def worst(statuses: list[Status]) -> Status:
    """Return the worst of all; nothing at all is fine."""
    return max(statuses, key=_SEVERITY.index, default=Status.PASS)


def components(results: Mapping[str, Result], parts: Parts) -> dict[str, Component]:
    """Describe every check, breaker, downstream, pool and concurrency cap, by name."""
    found: dict[str, Component] = {}
    for name, result in results.items():
        found[name] = {
            "status": result.status.value,
            "seconds": round(result.seconds, 4),
            **({} if result.output is None else {"output": result.output}),
        }
    for breaker in parts.breakers:
        circuit = breaker.snapshot()
        quiet = circuit.state in _QUIET and not circuit.children.keys() - _QUIET
        status = circuit_status(breaker)
        found[f"circuit:{circuit.name}"] = {
            "status": (status if quiet else worst([status, Status.WARN])).value,
            "state": circuit.state.value,
        }
    for downstream in parts.downstreams:
        line = downstream.snapshot()
        full = line.max_queue > 0 and line.waiting >= line.max_queue
        found[f"downstream:{line.name}"] = {
            "status": (Status.WARN if full else Status.PASS).value,
            "in_flight": line.in_flight,
            "waiting": line.waiting,
            "max_waiting": line.max_queue,
        }
    for name, source in parts.pools.items():
        pool = source.snapshot()
        full = pool.limit is not None and pool.used >= pool.limit
        found[f"pool:{name}"] = {
            "status": (Status.WARN if full else Status.PASS).value,
            "used": pool.used,
            "idle": pool.idle,
            "limit": pool.limit,
            "waiters": pool.waiters,
        }
    for cap in parts.concurrency:
        permits = cap.snapshot()
        full = permits.in_flight >= permits.limit
        found[f"concurrency:{cap.name}"] = {
            "status": (Status.WARN if full else Status.PASS).value,
            "in_flight": permits.in_flight,
            "limit": permits.limit,
            "waiting": permits.waiting,
        }
    return found
