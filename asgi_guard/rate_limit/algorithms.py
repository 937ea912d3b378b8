"""The arithmetic of quotas: no clock, no store, no loop.

Sliding-window counter: hits are counted per fixed window, and the window before weighs in with the
share of it that the last `period` seconds still cover (as described by Cloudflare in "How we built
rate limiting capable of scaling to millions of domains", 2017; decided as `limits` decides).
"""

from math import ceil

from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota

_MARGIN = 1e-6  # seconds; a wait must not end a rounding error before the unit is there


def sliding_window(
    quota: Quota, previous: int, current: int, elapsed: float, cost: int
) -> Decision:
    """Decide one hit.

    Args:
        quota: Count and period.
        previous: Units charged in the window before the current one.
        current: Units charged in the current window so far.
        elapsed: Seconds since the current window began, less than the period.
        cost: Units to charge; 0 only looks.

    Returns:
        The decision; when it admits, the caller adds `cost` to the current window.
    """
    count, period = quota.count, quota.period
    used = int(previous * (1.0 - elapsed / period)) + current
    if used + cost <= count:
        used += cost
        current += cost
        reset = _wait(previous, current, elapsed, period, used - 1) if used else 0.0
        return Decision(True, count - used, reset, 0.0)
    retry_after = _wait(previous, current, elapsed, period, count - cost) if cost <= count else None
    reset = _wait(previous, current, elapsed, period, min(used, count) - 1) if used else 0.0
    return Decision(False, max(0, count - used), reset, retry_after)


def _wait(previous: int, current: int, elapsed: float, period: float, room: int) -> float:
    """Return the seconds until at most `room` units count."""
    rest = period - elapsed
    if current <= room:  # the window before fades enough within this one
        faded = period * (1.0 - (room - current + 1) / previous) if previous else 0.0
        return max(0.0, min(rest, faded - elapsed)) + _MARGIN
    return rest + max(0.0, period * (1.0 - (room + 1) / current)) + _MARGIN


def window_at(now: float, period: float) -> tuple[int, float]:
    """Return the number of the window that `now` lies in, and the seconds since it began."""
    number, elapsed = divmod(now, period)
    return int(number), elapsed


def advertised_window(quota: Quota) -> int:
    """Return the period in whole seconds, as header fields want it."""
    return max(1, ceil(quota.period))
