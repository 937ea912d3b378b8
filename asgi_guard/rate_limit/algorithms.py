"""The arithmetic of quotas: no clock, no store, no loop.

Sliding-window counter: hits are counted per fixed window, and the window before weighs in with the
share of it that the last `period` seconds still cover (as described by Cloudflare in "How we built
rate limiting capable of scaling to millions of domains", 2017; decided as `limits` decides).
"""

from asgi_guard.rate_limit.decision import Decided

MARGIN = 1e-6  # seconds; a wait must not end a rounding error before the unit is there


def sliding_window(
    count: int, period: float, previous: int, current: int, elapsed: float, cost: int
) -> Decided:
    """Decide one hit.

    Args:
        count: Units per period.
        period: The period in seconds.
        previous: Units charged in the window before the current one.
        current: Units charged in the current window so far.
        elapsed: Seconds since the current window began, less than the period.
        cost: Units to charge; 0 only looks.

    Returns:
        What a `Decision` holds; when it admits, the caller adds `cost` to the current window.
    """
    fading = int(previous * (1.0 - elapsed / period)) if previous else 0
    used = fading + current + cost
    if used > count:
        return _refused(count, period, previous, current, elapsed, cost)
    if fading:  # the next unit to come free is one of the window before
        reset = min(period - elapsed, period * (1.0 - fading / previous) - elapsed) + MARGIN
    else:
        reset = period - elapsed + MARGIN if used else 0.0
    return True, count - used, reset, 0.0


def _refused(
    count: int, period: float, previous: int, current: int, elapsed: float, cost: int
) -> Decided:
    used = int(previous * (1.0 - elapsed / period)) + current
    retry_after = _wait(previous, current, elapsed, period, count - cost) if cost <= count else None
    reset = _wait(previous, current, elapsed, period, min(used, count) - 1) if used else 0.0
    return False, max(0, count - used), reset, retry_after


def _wait(previous: int, current: int, elapsed: float, period: float, room: int) -> float:
    """Return the seconds until at most `room` units count."""
    rest = period - elapsed
    if current <= room:  # the window before fades enough within this one
        faded = period * (1.0 - (room - current + 1) / previous) if previous else 0.0
        return max(0.0, min(rest, faded - elapsed)) + MARGIN
    return rest + max(0.0, period * (1.0 - (room + 1) / current)) + MARGIN
