"""What is known of a connection pool at one moment."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PoolSnapshot:
    """The state of a connection pool at one moment.

    Attributes:
        open: Connections to the database that exist.
        used: Those that somebody holds.
        limit: The most that may be held at once; None without a limit.
        size: Connections that are kept when nobody needs them; None where a pool keeps no number.
        waiters: Callers inside an acquire: waiting for a connection, or for a new one to open.
        timeouts: Acquires so far that ended because no connection came free in time.
    """

    open: int
    used: int
    limit: int | None
    size: int | None
    waiters: int
    timeouts: int

    @property
    def idle(self) -> int:
        """Connections that exist and that nobody holds."""
        return self.open - self.used

    @property
    def saturation(self) -> float | None:
        """The share of the limit that is used; None without a limit."""
        return None if not self.limit else self.used / self.limit


class PoolSource(Protocol):
    """Whatever knows the state of a pool."""

    def snapshot(self) -> PoolSnapshot:
        """Return the state of this moment."""
        ...
