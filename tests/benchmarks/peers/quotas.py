"""Quotas for those who do not read the notation."""

_SECONDS = {
    "minute": 60,
    "hour": 3_600,
    "day": 86_400,
    "month": 30 * 86_400,
    "year": 360 * 86_400,
}


def by_unit(quota: str) -> tuple[str, int]:
    """Return the unit of time, and how many requests there may be in one."""
    number, _, unit = quota.partition("/")
    return unit, int(number)


def by_seconds(quota: str) -> tuple[int, int]:
    """Return how many requests for how many seconds."""
    unit, number = by_unit(quota)
    return number, _SECONDS[unit]
