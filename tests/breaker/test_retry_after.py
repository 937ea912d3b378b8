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
    assert http_date(written(moment)) == moment.timestamp()


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
