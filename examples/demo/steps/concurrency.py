"""The concurrency cap: of a burst some pass, some wait, the rest are refused at once."""

import asyncio
from collections.abc import Mapping, Sequence
from math import isnan

from examples.demo.report import Step, duration
from examples.demo.visitor import Answer, Visitor, statuses

_BURST = 20
_PERMITS = 8
_CONNECTIONS = 5
_BETWEEN_SCRAPES = 0.05  # seconds
_WATCHED = {
    "in flight": ("asgi_guard_concurrency_in_flight", {}),
    "queued": ("asgi_guard_concurrency_queued", {}),
    "used": ("asgi_guard_db_pool_connections", {"state": "used"}),
    "waiters": ("asgi_guard_db_pool_waiters", {}),
}


async def burst(visitor: Visitor, step: Step) -> None:
    """Send many slow requests at once, and read metrics and readiness meanwhile."""
    step.sent = f"{_BURST} x GET /report at once; GET /metrics and /readyz meanwhile"
    step.say(f"{_BURST} x GET /report", "at once; each holds a database connection for 0.6 s ...")
    async with asyncio.TaskGroup() as group:
        reports = [group.create_task(visitor.ask("GET", "/report")) for _ in range(_BURST)]
        peaks = await _watch(visitor, step, reports)
    answers = [report.result() for report in reports]
    passed = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    _check(step, answers, passed, refused)
    _check_peaks(step, peaks)
    times = sorted(answer.seconds for answer in passed) or [0.0]
    answered = f"{len(passed)} x 200, the first in {times[0]:.1f} s, the last in {times[-1]:.1f} s"
    shed = f"{len(refused)} x 503 in {duration([answer.seconds for answer in refused])}"
    step.say("passed or waited", answered)
    step.say("refused at once", f"{shed}, Retry-After: {_waits(refused)}")
    step.happened = (
        f"{answered}; {shed}. At the peak {peaks['in flight']:g} in flight, "
        f"{peaks['queued']:g} queued; pool {peaks['used']:g} of {_CONNECTIONS} used, "
        f"{peaks['waiters']:g} waiting"
    )


async def _watch(
    visitor: Visitor, step: Step, reports: Sequence[asyncio.Task[Answer]]
) -> Mapping[str, float]:
    """Scrape until the burst is over; return the highest value of everything watched."""
    peaks = dict.fromkeys(_WATCHED, float("nan"))
    probe = await visitor.ask("GET", "/readyz")
    while not all(report.done() for report in reports):
        scrape = await visitor.scrape()
        for label, (name, labels) in _WATCHED.items():
            value = scrape.value(name, **labels)
            if isnan(peaks[label]) or value > peaks[label]:
                peaks[label] = value
        await asyncio.sleep(_BETWEEN_SCRAPES)
    step.say("GET /readyz meanwhile", f"{probe.status} in {duration([probe.seconds])}")
    step.expect("GET /readyz during the burst", 200, probe.status)
    step.say(
        "GET /metrics meanwhile",
        f"concurrency  {peaks['in flight']:g} of {_PERMITS} in flight, {peaks['queued']:g} queued",
        f"pool         {peaks['used']:g} of {_CONNECTIONS} connections used, "
        f"{peaks['waiters']:g} callers waiting for one",
    )
    return peaks


def _check(step: Step, answers: list[Answer], passed: list[Answer], refused: list[Answer]) -> None:
    step.expect("statuses", "200, 503", statuses(answers))
    least = _PERMITS + 1
    step.expect("answered", f"{least} or more", len(passed), len(passed) >= least)
    step.expect("refused", "1 or more", len(refused), bool(refused))
    if refused:
        waits = [answer.retry_after for answer in refused]
        step.expect("Retry-After of every refusal", "1 or more", min(waits), min(waits) >= 1)


def _check_peaks(step: Step, peaks: Mapping[str, float]) -> None:
    in_flight, used = peaks["in flight"], peaks["used"]
    step.expect("requests in flight", f"1 to {_PERMITS}", in_flight, 1 <= in_flight <= _PERMITS)
    step.expect("connections used", f"1 to {_CONNECTIONS}", used, 1 <= used <= _CONNECTIONS)
    for label in ("queued", "waiters"):
        step.expect(label, "1 or more", peaks[label], peaks[label] >= 1)


def _waits(refused: list[Answer]) -> str:
    return ", ".join(sorted({str(answer.retry_after) for answer in refused})) or "none"
