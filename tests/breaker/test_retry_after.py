"""`Retry-After` as servers write it, and as they should not."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.breaker.retry_after import http_date, retry_after

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
YEAR = 366 * 86400.0
CENTURIES = 8000 * 365 * 86400  # seconds
MOMENTS = st.integers(0, CENTURIES).map(
    lambda seconds: datetime(1900, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


def written(moment: datetime) -> str:
    """Return a date as HTTP writes it."""
    return format_datetime(moment, usegmt=True)


@given(st.integers(min_value=0), st.sampled_from(["", " ", "\t "]))
def test_seconds(seconds: int, space: str) -> None:
    """Any number of them, up to a year."""
    if len(str(seconds)) < 4000:
        assert retry_after(f"{space}{seconds}{space}", 0.0) == min(seconds, YEAR)


def test_more_digits_than_a_number_may_have() -> None:
    """They are a long time, and no error."""
    assert retry_after("9" * 10_000, 0.0) == YEAR
    assert retry_after("0" * 10_000 + "7", 0.0) == 7.0


@given(MOMENTS)
def test_dates(moment: datetime) -> None:
    """They are read as they are written elsewhere."""
    assert http_date(written(moment), 0.0) == moment.timestamp()
    assert http_date(moment.strftime("%c"), 0.0) == moment.timestamp()


@given(MOMENTS, st.timedeltas(timedelta(days=-49 * 365), timedelta(days=49 * 365)))
def test_dates_of_rfc_850(now: datetime, away: timedelta) -> None:
    """Their years have two digits, and mean those that are near."""
    moment = now + away
    text = moment.strftime("%A, %d-%b-%y %H:%M:%S GMT")
    assert http_date(text, now.timestamp()) == moment.replace(microsecond=0).timestamp()


@pytest.mark.parametrize(
    ("text", "year"),
    [
        ("Sunday, 06-Nov-94 08:49:37 GMT", 1994),
        ("Sunday, 01-Mar-76 12:00:00 GMT", 2076),
        ("Sunday, 01-Mar-76 12:00:01 GMT", 1976),
        ("Sunday, 29-Feb-76 12:00:01 GMT", 2076),
        ("Sunday, 31-Dec-75 23:59:60 GMT", 2075),
        ("Sunday, 01-Mar-77 00:00:00 GMT", 1977),
        ("Sunday, 01-Mar-00 00:00:00 GMT", 2000),
        ("Sun Mar  1 12:00:00 2026", 2026),
        ("Sun Mar 01 12:00:00 2026", 2026),
    ],
)
def test_a_year_of_two_digits(text: str, year: int) -> None:
    """One that would be more than fifty years ahead is over (RFC 9110, section 5.6.7)."""
    at = http_date(text, NOW.timestamp())
    assert at is not None
    assert datetime.fromtimestamp(at - 60, UTC).year == year


def test_every_form_is_obeyed() -> None:
    """Also against the server's own date, in another form."""
    for text in ("Sunday, 01-Mar-26 12:00:10 GMT", "Sun Mar  1 12:00:10 2026"):
        assert retry_after(text, NOW.timestamp()) == 10.0
        assert retry_after(text, 0.0, "Sun Mar  1 12:00:07 2026") == 3.0


@given(MOMENTS, MOMENTS)
def test_dates_are_held_against_the_servers_own(until: datetime, sent: datetime) -> None:
    """Whatever the time is here; a date that has passed asks for nothing."""
    wait = (until - sent).total_seconds()
    expected = min(max(0.0, wait), YEAR)
    assert retry_after(written(until), 0.0, written(sent)) == expected
    assert retry_after(written(until), sent.timestamp()) == expected


@given(st.text())
def test_anything_else(value: str) -> None:
    """Whatever a server sends, there is a time from 0 to a year or none, and never an error."""
    wait = retry_after(value, NOW.timestamp(), value)
    assert wait is None or 0 <= wait <= YEAR


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", "-1", "+1", "1.5", "1e3", "1 2", "soon", "٣", "0x10", "1, 2", "inf", "nan"),
        "Sun, 01 Mar 2026 12:00:10",
        "Sun, 01 Mar 2026 12:00:10 +0000",
        "Sun, 31 Feb 2026 12:00:10 GMT",
        "Sun, 01 Foo 2026 12:00:10 GMT",
        "Sun, 01 Mar 0000 12:00:10 GMT",
        "Sun, 01 Mar 2026 25:00:10 GMT",
        "sun, 01 mar 2026 12:00:10 gmt",
        "Sunday, 01-Mar-2026 12:00:10 GMT",
        "Sun, 01-Mar-26 12:00:10 GMT",
        "Sunday, 30-Feb-26 12:00:10 GMT",
        "Sunday, 29-Feb-27 12:00:10 GMT",
        "Sunday, 01-Mar-26 12:00:10",
        "Sun Mar 1 12:00:10 2026",
        "Sun Mar  1 12:00:10 26",
        "Sun Mar  1 12:00:10 2026 GMT",
        "Sun Mar  0 12:00:10 2026",
    ],
)
def test_what_cannot_be_understood(value: str | None) -> None:
    """It asks for nothing."""
    assert retry_after(value, NOW.timestamp()) is None


def test_a_leap_second() -> None:
    """A minute may have one second more."""
    assert retry_after("Sun, 01 Mar 2026 12:00:60 GMT", NOW.timestamp()) == 60.0
    assert retry_after("Sun, 01 Mar 2026 12:00:61 GMT", NOW.timestamp()) is None


def test_a_clock_of_the_server_that_cannot_be_read() -> None:
    """Then it is ours that counts."""
    assert retry_after(written(NOW), NOW.timestamp() - 5, "now") == 5.0
