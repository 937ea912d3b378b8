"""Bans: a key that is refused again and again is refused for a while, and longer each time.

The arithmetic knows no clock and no store. A key that comes on during its ban neither prolongs it
nor adds to what counts: clients that retry by themselves would never get out.
"""

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from asgi_guard._checks import check_count, check_seconds
from asgi_guard.errors import ConfigurationError
from asgi_guard.rate_limit.decision import Decided

MARGIN = 1e-6  # seconds; who waits as long as told must not come a rounding error before the end
_MOST_REFUSALS = 1_000_000
_MOST_TIMES = 1000.0


@dataclass(frozen=True, slots=True)
class Ban:
    """What becomes of a key that a rule refuses again and again.

    The refusal that is the `after`-th within `within` seconds begins a ban: for `lasts` seconds the
    rule refuses the key, whatever its quota says. Each further ban lasts `multiplier` times as long
    as the one before, up to `longest`, until the key is forgiven: once it has gone, since that ban
    ended, for as long as it lasted without being refused. Refusals during a ban do not count.

    Args:
        after: How many refusals begin a ban, from 1 up to a million.
        within: Seconds in which they have to come, from the first of them on; default 60. What
            comes later begins the count anew.
        lasts: Seconds for which the first ban lasts; default 60.
        multiplier: How many times as long as the ban before the next one lasts, from 1 up to 1,000;
            default 2.0.
        longest: Seconds that no ban is longer than, from `lasts` up; default 86400.0, a day.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    after: int
    _: KW_ONLY
    within: float = 60.0
    lasts: float = 60.0
    multiplier: float = 2.0
    longest: float = 86400.0

    def __post_init__(self) -> None:
        """Refuse what is no ban."""
        check_count("Ban.after", self.after, most=_MOST_REFUSALS)
        check_seconds("Ban.within", self.within)
        check_seconds("Ban.lasts", self.lasts)
        times = self.multiplier
        is_number = isinstance(times, int | float) and not isinstance(times, bool)
        if not is_number or not 1 <= times <= _MOST_TIMES:
            raise ConfigurationError("Ban.multiplier", times, f"a number from 1 to {_MOST_TIMES:g}")
        check_seconds("Ban.longest", self.longest)
        if self.longest < self.lasts:
            raise ConfigurationError(
                "Ban.longest", self.longest, f"at least what the first ban lasts, {self.lasts:g}"
            )


class Record(NamedTuple):
    """What is known of the refusals of one key. Times are on the store's clock.

    Attributes:
        began: When the first of the refusals came that count.
        refusals: How many count.
        until: When the last ban ends.
        lasts: Seconds for which it lasts; 0 where there was none.
        forgiven_at: When it no longer makes the next one longer, if no refusal comes before.
    """

    began: float
    refusals: int
    until: float
    lasts: float
    forgiven_at: float


def rest_of_ban(record: Record | None, now: float) -> float:
    """Return the seconds for which a key is still banned; 0 where it is not."""
    if record is None or now >= record.until - MARGIN:
        return 0.0
    return record.until - now


def after_refusal(ban: Ban, record: Record | None, now: float) -> tuple[Record, float]:
    """Count a refusal of a key that is not banned.

    Args:
        ban: The terms.
        record: What is known of the key; None: nothing.
        now: Seconds on a clock that never runs backwards.

    Returns:
        What is known from now on, and the seconds for which the key is banned; 0 where it is not.
    """
    began, refusals, until, lasts, forgiven_at = record or Record(now, 0, now, 0.0, now)
    if now >= forgiven_at:
        lasts = 0.0
    if not refusals or now - began >= ban.within:
        began, refusals = now, 0
    refusals += 1
    if refusals < ban.after:
        return Record(began, refusals, until, lasts, now + lasts), 0.0
    lasts = min(ban.longest, lasts * ban.multiplier) if lasts else ban.lasts
    until = now + lasts
    return Record(now, 0, until, lasts, until + lasts), lasts


def matters_until(ban: Ban, record: Record) -> float:
    """Return when a record is worth no more than none."""
    return max(record.began + ban.within if record.refusals else 0.0, record.forgiven_at)


def while_banned(decided: Decided, rest: float) -> Decided:
    """Return what a banned key is told in place of what its quota says.

    Nothing remains; and since the quota may be used up for longer than the ban lasts, the later of
    the two ends counts: who waits as long as told is admitted.

    Args:
        decided: What the quota says, with nothing charged.
        rest: Seconds for which the key is still banned.
    """
    admitted, remaining, reset, wait = decided
    if admitted:
        return False, 0, rest, rest
    reset = rest if remaining else max(rest, reset)
    return False, 0, reset, None if wait is None else max(rest, wait)
