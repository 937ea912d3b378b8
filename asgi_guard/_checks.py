"""What settings are held against when they are made."""

import inspect
import re
from collections.abc import Callable

from asgi_guard.errors import ConfigurationError

CENTURY = 100 * 366 * 86400  # seconds: the longest time of any kind
LARGEST = 10**15 - 1  # of an integer in a header field (RFC 9651, section 3.3.1); exact in metrics
_LONGEST_NAME = 100
_NAME = re.compile(r"[\x20-\x7e]+")


def check_count(field: str, value: object, *, least: int = 1, most: int = LARGEST) -> None:
    """Require a whole number of at least `least`, and of no more than `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(field, value, f"a whole number from {least} up")
    if value > most:
        raise ConfigurationError(field, value, f"at most {most}")


def check_seconds(field: str, value: object, *, zero: bool = False) -> None:
    """Require a duration above zero, or from zero up, and of a century at most."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= CENTURY
        or (value == 0 and not zero)
    ):
        raise ConfigurationError(
            field, value, f"seconds, {'from 0' if zero else 'above 0'} up to a century"
        )


def check_share(field: str, value: object, *, zero: bool = False) -> None:
    """Require a share above 0, or from 0, up to 1."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= 1
        or (value == 0 and not zero)
    ):
        least = "from 0" if zero else "above 0 and"
        raise ConfigurationError(field, value, f"a share {least} up to 1, such as 0.5")


def check_flag(field: str, value: object) -> None:
    """Require True or False."""
    if not isinstance(value, bool):
        raise ConfigurationError(field, value, "True or False")


def is_name(value: object) -> bool:
    """Tell whether this may be a name."""
    return isinstance(value, str) and len(value) <= _LONGEST_NAME and bool(_NAME.fullmatch(value))


def check_name(field: str, value: object) -> None:
    """Require a name that may stand in a header field, a metric label and a log line."""
    if not is_name(value):
        raise ConfigurationError(field, value, f"1 to {_LONGEST_NAME} printable ASCII characters")


def check_endpoint(field: str, value: object) -> None:
    """Require a path that an ops endpoint can be answered under."""
    if not isinstance(value, str) or not re.fullmatch(r"(/[\w.~-]+)+", value, re.ASCII):
        raise ConfigurationError(
            field, value, "a path such as '/metrics': segments of letters, digits and . _ ~ -"
        )


def check_clock(field: str, value: object) -> None:
    """Require a clock, and ask it for the time."""
    allowed = "a plain function that returns seconds"
    if not callable(value) or is_async(value) or not _takes(value, 0):
        raise ConfigurationError(field, value, allowed)
    if not isinstance(value(), int | float):
        raise ConfigurationError(field, value, allowed)


def check_function(
    field: str,
    value: object,
    allowed: str,
    *,
    shown: object = None,
    may_wait: bool = False,
    takes: int = 1,
) -> None:
    """Require a function.

    Args:
        field: The setting.
        value: What it was set to.
        allowed: What it may be.
        shown: What the error shows in place of the value; default: the value.
        may_wait: Whether it may be async; default False, since whoever does not await it takes
            what it returns for true.
        takes: How many arguments it is called with; default 1.
    """
    waits = is_async(value) and not may_wait
    if not callable(value) or isinstance(value, type) or waits or not _takes(value, takes):
        raise ConfigurationError(field, value if shown is None else shown, allowed)


def is_async(function: object) -> bool:
    """Tell whether what a function returns has to be awaited."""
    call = getattr(function, "__call__", None)  # noqa: B004 - an object's own async __call__
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def check_question(field: str, value: Callable[..., object], allowed: str) -> None:
    """Require a function that can be called without arguments."""
    if isinstance(value, type) or not _takes(value, 0):
        raise ConfigurationError(field, value, allowed)


def _takes(function: Callable[..., object], arguments: int) -> bool:
    try:
        inspect.signature(function, follow_wrapped=False).bind(*(None,) * arguments)
    except TypeError:
        return False
    except ValueError:
        return True  # a built-in that does not tell
    return True
