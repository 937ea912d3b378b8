"""The walk: what happens to a guarded app, step by step, over real HTTP."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias

from examples.demo.payments import Payments
from examples.demo.report import Report, Step
from examples.demo.steps import breaker, concurrency, health, metrics, rate_limit
from examples.demo.visitor import Visitor

Act: TypeAlias = Callable[[Visitor, Step], Awaitable[None]]


async def walk(url: str, payments: Payments, report: Report) -> None:
    """Walk through every step; a step that breaks is one that failed, and the next follows.

    Args:
        url: Where the guarded app is served.
        payments: The downstream of that app.
        report: What is printed and noted.
    """
    steps: list[tuple[str, Act]] = [
        ("Health, before", health.probes),
        ("Rate limit per client", rate_limit.over_quota),
        ("Concurrency cap", concurrency.burst),
        ("Circuit breaker opens", partial(breaker.opens, payments)),
        ("Circuit breaker closes", partial(breaker.closes, payments)),
        ("Metrics and database pool", metrics.scrape),
        ("Health, after", health.probes),
    ]
    async with Visitor(url) as visitor:
        for title, act in steps:
            step = report.begin(title)
            try:
                await act(visitor, step)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what happened
                cause = _first(error)
                step.fail(f"the step broke: {type(cause).__name__}: {cause}")


def _first(error: Exception) -> Exception:
    """Return the first error of a group, or the error itself."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
