"""`Retry-After`: how long a server asks to be left alone (RFC 9110, section 10.2.3)."""

import re
from datetime import UTC, datetime

_DELTA = re.compile(r"[0-9]+")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_MONTH = r"(?P<month>[A-Z][a-z]{2})"
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_LONG_DAYS = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_DATES = (
    re.compile(rf"(?:{_DAYS}), (?P<day>[0-9]{{2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} GMT"),
    # As RFC 850 and asctime() of C have it: nobody should send these, and all must read them.
    re.compile(rf"(?:{_LONG_DAYS}), (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT"),
    re.compile(rf"(?:{_DAYS}) {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} (?P<year>[0-9]{{4}})"),
)
_AHEAD = 50  # years; a year of two digits that is further ahead is of the past
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
    sent = http_date((date or "").strip(" \t"), now)
    if sent is None:
        sent = now
    until = http_date(text, sent)
    return None if until is None else min(max(0.0, until - sent), _LONGEST)


def http_date(text: str, now: float) -> float | None:
    """Return the seconds since 1970 of a date in any of the forms of HTTP; None for anything else.

    Args:
        text: The date (RFC 9110, section 5.6.7).
        now: Seconds since 1970, to tell the century of a year of two digits.
    """
    parts = next(filter(None, (form.fullmatch(text) for form in _DATES)), None)
    if parts is None or parts["month"] not in _MONTHS:
        return None
    month = _MONTHS.index(parts["month"]) + 1
    day, hour, minute, second = (int(parts[each]) for each in ("day", "hour", "minute", "second"))
    leap = second == _LEAP_SECOND
    try:
        year = _year(parts["year"], (month, day, hour, minute, second), now)
        at = datetime(year, month, day, hour, minute, second - leap, tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return at.timestamp() + leap


def _year(digits: str, rest: tuple[int, ...], now: float) -> int:
    """Return a year; one of two digits is the last that is not too far ahead."""
    if len(digits) > len("94"):
        return int(digits)
    today = datetime.fromtimestamp(now, UTC)
    ahead = (today.year + _AHEAD, *today.timetuple()[1:6])
    year = ahead[0] // 100 * 100 + int(digits)
    return year if (year, *rest) <= ahead else year - 100
