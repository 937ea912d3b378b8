"""Quotas and their notation."""

import pytest

from asgi_guard import ConfigurationError, Quota
from asgi_guard.rate_limit.quota import parse_quota


@pytest.mark.parametrize(
    ("notation", "count", "period"),
    [
        ("300/minute", 300, 60.0),
        ("5 per second", 5, 1.0),
        ("10/5 seconds", 10, 5.0),
        ("1000/2 hours", 1000, 7200.0),
        ("1/day", 1, 86400.0),
        ("1/month", 1, 30 * 86400.0),
        ("1/year", 1, 360 * 86400.0),
    ],
)
def test_the_notation_is_that_of_limits(notation: str, count: int, period: float) -> None:
    """Count, optional multiple, period."""
    assert parse_quota("f", notation) == Quota(count, period)


@pytest.mark.parametrize(
    "notation",
    [
        "",
        "many",
        "5/fortnight",
        "0/second",
        "-1/second",
        "5/0 second",
        "10 per 0 minutes",
        "10/0minute",
        "5 PER 0 MINUTES",
        "5/minute;9/hour",
        "5/minute\n",
        5,
        None,
    ],
)
def test_what_cannot_be_read_is_refused(notation: object) -> None:
    """The error names the field, the value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        parse_quota("Rule.quota", notation)
    assert str(raised.value).startswith(f"Rule.quota is {notation!r}; allowed: ")
    assert "300/minute" in str(raised.value)


@pytest.mark.parametrize(
    ("count", "period"),
    [
        (10**15, 1.0),
        (1, 5e-324),
        (1, 1e308),
        (1, 10**400),
        (0, 1.0),
        (-1, 1.0),
        (True, 1.0),
        (1.5, 1.0),
        (1, 0.0),
        (1, -1.0),
    ],
)
def test_a_quota_has_a_count_and_a_period(count: int, period: float) -> None:
    """Both are above zero."""
    with pytest.raises(ConfigurationError):
        Quota(count, period)


@pytest.mark.parametrize("period", [float("nan"), float("inf"), "60"])
def test_a_period_is_a_finite_number(period: float) -> None:
    """Neither for ever, nor words."""
    with pytest.raises(ConfigurationError):
        Quota(1, period)
