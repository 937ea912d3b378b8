"""Checks: what is asked whether a dependency is healthy."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Any, TypeAlias

from asgi_guard._checks import check_flag, check_question, check_seconds
from asgi_guard.errors import ConfigurationError, Withheld

Ask: TypeAlias = Callable[[], Awaitable[object] | object]
"""A function without arguments, sync or async: it raises or returns False if something is wrong."""


class Status(Enum):
    """How a check, or the whole, is doing; the words of the health+json draft."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """A dependency to be asked about, and how.

    Args:
        check: An engine of SQLAlchemy, which is asked for `SELECT 1`, or a function without
            arguments: async, or sync and run in a thread. It fails when it raises, returns False,
            or takes too long.
        critical: Whether readiness fails with it; default False: a dependency that all instances
            share would take all of them out of service at once.
        timeout: Seconds it may take, above 0; default 0.5. Probes commonly give up after one
            second.
        ttl: Seconds a good result is kept, from 0 up; default 5. A bad one is kept for one second
            at most.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    check: Any
    _: KW_ONLY
    critical: bool = False
    timeout: float = 0.5
    ttl: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot be asked."""
        check_flag("Check.critical", self.critical)
        check_seconds("Check.timeout", self.timeout)
        check_seconds("Check.ttl", self.ttl, zero=True)
        question(self.check)


def question(check: object) -> Ask:
    """Return the function to call for what was given as a check.

    Raises:
        ConfigurationError: It is neither a function nor an engine.
    """
    try:
        from asgi_guard.health.sqlalchemy import is_session_maker, ping  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        asked = None  # without SQLAlchemy nothing can be an engine
    else:
        asked = ping(check)
        if is_session_maker(check):
            raise ConfigurationError("Check.check", Withheld(check), _ALLOWED)
    if asked is not None:
        return asked
    if not callable(check) or _yields(check):
        raise ConfigurationError("Check.check", Withheld(check), _ALLOWED)
    check_question("Check.check", check, _ALLOWED)
    return check


def _yields(check: object) -> bool:
    """Tell whether this only makes a generator, such as a dependency: nothing would be asked."""
    call = getattr(check, "__call__", None)  # noqa: B004 - an object's own
    kinds = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(is_kind(each) for is_kind in kinds for each in (check, call))


_ALLOWED = (
    "an Engine or AsyncEngine of SQLAlchemy (not a session maker), or a function without arguments "
    "that raises or returns False when something is wrong, and yields nothing"
)
