"""The arithmetic of quotas: no clock, no store, no loop."""

from typing import Literal, TypeAlias

from asgi_guard.rate_limit.decision import Decided

Algorithm: TypeAlias = Literal["sliding-window", "fixed-window", "token-bucket", "moving-window"]
"""How a quota is counted.

`sliding-window`: hits are counted per window, and the window before weighs in with the share of it
that the last `period` seconds still cover (as Cloudflare describes in "How we built rate limiting
capable of scaling to millions of domains", 2017; decided as `limits` decides). Two numbers a key.

`fixed-window`: hits are counted per window, and the window before does not matter. Up to twice the
quota can pass around a boundary. One number a key.

`token-bucket`: a bucket of `burst` tokens that fills at the rate of the quota; as GCRA, the generic
cell rate algorithm of ITU-T I.371, with one time a key: when the bucket will be full.

`moving-window`: the times of all hits of the last `period` seconds; exact, and a number for each
unit of the quota. In stores of `limits` only.
"""

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
    more, enough = min(used, count) - 1, count - cost  # units that may count still, for one and all
    reset = _wait(previous, current, elapsed, period, more) if used else 0.0
    if enough < 0:
        return False, max(0, count - used), reset, None
    same = enough == more  # as nearly always, where a hit costs one
    wait = reset if same else _wait(previous, current, elapsed, period, enough)
    return False, max(0, count - used), reset, wait


def _wait(previous: int, current: int, elapsed: float, period: float, room: int) -> float:
    """Return the seconds until at most `room` units count."""
    rest = period - elapsed
    if current <= room:  # the window before fades enough within this one
        faded = period * (1.0 - (room - current + 1) / previous) if previous else 0.0
        return max(0.0, min(rest, faded - elapsed)) + MARGIN
    return rest + max(0.0, period * (1.0 - (room + 1) / current)) + MARGIN


def fixed_window(count: int, period: float, used: int, elapsed: float, cost: int) -> Decided:
    """Decide one hit.

    Args:
        count: Units per period.
        period: The period in seconds.
        used: Units charged in this window so far.
        elapsed: Seconds since this window began, less than the period.
        cost: Units to charge; 0 only looks.

    Returns:
        What a `Decision` holds; when it admits, the caller adds `cost` to the window.
    """
    rest = period - elapsed + MARGIN
    if used + cost <= count:
        total = used + cost
        return True, count - total, rest if total else 0.0, 0.0
    return False, max(0, count - used), rest if used else 0.0, rest if cost <= count else None


def token_bucket(
    count: int, period: float, burst: int, full_in: float, cost: int
) -> tuple[Decided, float]:
    """Decide one hit.

    Args:
        count: Tokens that come in a period.
        period: The period in seconds.
        burst: Tokens that the bucket holds.
        full_in: Seconds until the bucket is full; 0 when it is.
        cost: Tokens to take; 0 only looks.

    Returns:
        What a `Decision` holds, and the seconds until the bucket is full again, charged if the hit
        was admitted.
    """
    interval = period / count
    missing = full_in + (cost - burst) * interval
    if missing > min(MARGIN, interval / 2):
        wait = missing + MARGIN if cost <= burst else None
        return (False, *_tokens(interval, burst, full_in), wait), full_in
    full_in += cost * interval
    return (True, *_tokens(interval, burst, full_in), 0.0), full_in


def _tokens(interval: float, burst: int, full_in: float) -> tuple[int, float]:
    """Return the whole tokens in a bucket, and the seconds until there is one more."""
    margin = min(MARGIN, interval / 2)
    if full_in <= margin:
        return burst, 0.0
    left = max(0, int(burst - (full_in - margin) / interval))
    return left, max(0.0, full_in - (burst - left - 1) * interval) + MARGIN
