"""What a store says to a hit."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast


class Decision(NamedTuple):
    """The result of charging one quota. All durations are seconds from now, never timestamps.

    Attributes:
        admitted: Whether the hit was within the quota.
        remaining: Units left after it, never negative.
        reset: Seconds until `remaining` grows; 0 when nothing is used.
        retry_after: Seconds until a hit of the same cost is admitted if nobody else takes the
            units; 0 when this one was. None when the cost is above what the quota ever holds.
    """

    admitted: bool
    remaining: int
    reset: float
    retry_after: float | None


# What `Decision(...)` does, as `new_decision(Decision, (...))`, without the function that names its
# arguments: a decision is made for every rule of every request.
new_decision: Callable[[type[Decision], tuple[bool, int, float, float | None]], Decision] = cast(
    "Any", tuple.__new__
)
