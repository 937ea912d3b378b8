"""Peace: how long a server wants to be left alone, as far as an error tells."""

from asgi_guard.breaker.retry_after import retry_after
from asgi_guard.breaker.statuses import ASKS_FOR_PEACE, fields_of, status_of
from asgi_guard.errors import Rejected


def peace_asked(error: BaseException, now: float) -> float:
    """Return the seconds of peace that the response asks for which an error carries; 0: none.

    A group asks for the longest of its parts.

    Args:
        error: What a call ended with.
        now: Seconds since 1970, as the clock on the wall shows them.
    """
    if isinstance(error, BaseExceptionGroup):
        return max(peace_asked(part, now) for part in error.exceptions)
    if isinstance(error, Rejected) or not isinstance(error, Exception):
        return 0.0
    if status_of(error) not in ASKS_FOR_PEACE:
        return 0.0
    asked, date = fields_of(error)
    return retry_after(asked, now, date) or 0.0
