"""`Retry-After`: how long a server asks to be left alone (RFC 9110, section 10.2.3)."""

import re
from datetime import UTC, datetime

_DELTA = re.compile(r"[0-9]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) "
    r"(?P<year>[0-9]{4}) (?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2}) GMT"
)
_LEAP_SECOND = 60
_LONGEST = 366 * 86400.0  # seconds; whoever asks for more means for ever
_DIGITS = 9  # more of them are more than that, and may be too many for a number


def retry_after(value: str | None, now: float, date: str | None = None) -> float | None:
    """Return the seconds that a `Retry-After` field asks for.

    Args:
        value: What the field holds: seconds as digits, or a date; None where there is no field.
        now: Seconds since 1970, as the clock on the wall shows them.
        date: What the `Date` field of the same response holds; default None. A date is held against
            it, since the server's clock may be wrong; without it, against `now`.

    Returns:
        From 0 (the date has passed) up to a year; None where nothing is asked for, or nothing that
        can be understood.
    """
    text = (value or "").strip(" \t")
    if _DELTA.fullmatch(text):
        digits = text.lstrip("0") or "0"
        return _LONGEST if len(digits) > _DIGITS else min(float(digits), _LONGEST)
    until = http_date(text)
    if until is None:
        return None
    sent = http_date((date or "").strip(" \t"))
    return min(max(0.0, until - (now if sent is None else sent)), _LONGEST)


def http_date(text: str) -> float | None:
    """Return the seconds since 1970 of a date as HTTP writes it; None for anything else."""
    parts = _DATE.fullmatch(text)
    if parts is None or parts["month"] not in _MONTHS:
        return None
    second = int(parts["second"])
    leap = second == _LEAP_SECOND
    try:
        at = datetime(
            int(parts["year"]),
            _MONTHS.index(parts["month"]) + 1,
            int(parts["day"]),
            int(parts["hour"]),
            int(parts["minute"]),
            second - leap,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return at.timestamp() + leap
