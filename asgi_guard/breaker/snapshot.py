"""What is known of a breaker at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass

from asgi_guard.breaker.machine import BreakerState


@dataclass(frozen=True, slots=True)
class BreakerSnapshot:
    """The state of a breaker at one moment, and what it has counted since it was made.

    Attributes:
        name: The breaker's name.
        state: Closed, open or half-open.
        retry_after: Seconds until a call may be admitted; 0 when one is now.
        success: Calls that succeeded.
        failure: Calls that failed.
        ignored: Calls that said nothing: cancelled, or ended by an error that is to be ignored.
        not_permitted: Calls that were refused.
        transitions: How often it changed from one state to another.
    """

    name: str
    state: BreakerState
    retry_after: float
    success: int
    failure: int
    ignored: int
    not_permitted: int
    transitions: Mapping[tuple[BreakerState, BreakerState], int]
