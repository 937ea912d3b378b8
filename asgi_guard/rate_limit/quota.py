"""Quotas: how much in how long."""

import re
from dataclasses import dataclass

import limits

from asgi_guard._checks import check_count, check_seconds
from asgi_guard.errors import ConfigurationError

_SHORTEST = 0.001
_NO_MULTIPLE = re.compile(r"(/|per)\s*0+(?!\d)", re.IGNORECASE)
_NOTATION = (
    "'<count>/<period>' such as '300/minute', '10 per 5 seconds', '1000/2 hours'; count and "
    "multiple from 1 up; period second, minute, hour, day, month (30 days) or year (360 days)"
)


@dataclass(frozen=True, slots=True)
class Quota:
    """A count per period.

    Args:
        count: Units per period, a whole number from 1 to 10^15 - 1.
        period: The period in seconds, from 0.001 to a century; fractions are fine.
        burst: Units at once, a whole number from 1 to 10^15 - 1, where the quota is a token
            bucket; None (the default) for as many as the count.

    Raises:
        ConfigurationError: A value is out of its range.
    """

    count: int
    period: float
    burst: int | None = None

    def __post_init__(self) -> None:
        """Refuse what is no quota."""
        check_count("Quota.count", self.count)
        check_seconds("Quota.period", self.period)
        if self.burst is not None:
            check_count("Quota.burst", self.burst)
        if self.period < _SHORTEST:
            raise ConfigurationError("Quota.period", self.period, f"seconds, from {_SHORTEST} up")

    @property
    def capacity(self) -> int:
        """The units that can be used at once."""
        return self.count if self.burst is None else self.burst


def parse_quota(field: str, notation: object) -> Quota:
    """Read the notation of the `limits` package, such as `300/minute`.

    Args:
        field: The setting that holds the notation, for the error.
        notation: A string in that notation, or a `Quota`, which is returned as it is.

    Raises:
        ConfigurationError: The notation cannot be read, or means nothing.
    """
    if isinstance(notation, Quota):
        return notation
    if not isinstance(notation, str) or not notation.isprintable():
        raise ConfigurationError(field, notation, _NOTATION)
    try:
        items = limits.parse_many(notation)
    except ValueError as error:
        raise ConfigurationError(field, notation, _NOTATION) from error
    if len(items) != 1:
        raise ConfigurationError(field, notation, f"{_NOTATION}; one quota to a rule")
    item = items[0]
    # limits reads a multiple of 0 as 1, which can only be a mistake.
    if item.amount < 1 or item.multiples < 1 or _NO_MULTIPLE.search(notation):
        raise ConfigurationError(field, notation, _NOTATION)
    return Quota(item.amount, float(item.get_expiry()))
