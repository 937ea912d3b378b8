"""What settings are held against when they are made."""

import math
import re

from asgi_guard.errors import ConfigurationError

_LONGEST_NAME = 100
_NAME = re.compile(r"[\x20-\x7e]+")


def check_count(field: str, value: object, *, least: int = 1) -> None:
    """Require a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(field, value, f"a whole number from {least} up")


def check_seconds(field: str, value: object, *, zero: bool = False) -> None:
    """Require a finite duration above zero, or from zero up."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or value < 0
        or (value == 0 and not zero)
    ):
        raise ConfigurationError(field, value, f"seconds, {'from 0 up' if zero else 'above 0'}")


def check_share(field: str, value: object) -> None:
    """Require a share above 0 and up to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigurationError(field, value, "a share above 0 and up to 1, such as 0.5")


def check_name(field: str, value: object) -> None:
    """Require a name that may stand in a header field, a metric label and a log line."""
    if not isinstance(value, str) or not _NAME.fullmatch(value) or len(value) > _LONGEST_NAME:
        raise ConfigurationError(field, value, f"1 to {_LONGEST_NAME} printable ASCII characters")


def check_endpoint(field: str, value: object) -> None:
    """Require a path that an ops endpoint can be answered under."""
    if not isinstance(value, str) or not re.fullmatch(r"(/[\w.~-]+)+", value, re.ASCII):
        raise ConfigurationError(
            field, value, "a path such as '/metrics': segments of letters, digits and . _ ~ -"
        )
