"""What a store says to a hit."""

from typing import NamedTuple, TypeAlias


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

    @property
    def banned(self) -> bool:
        """Whether the key is banned, which is why the hit was refused."""
        return False


class Banned(Decision):
    """A refusal of a key that is banned; `retry_after` says until when."""

    __slots__ = ()

    @property
    def banned(self) -> bool:
        """Whether the key is banned: it is."""
        return True


class BanBegun(Banned):
    """The refusal that begins a ban."""

    __slots__ = ()


Decided: TypeAlias = tuple[bool, int, float, float | None]
"""What a `Decision` holds, as a plain tuple: it is made for every rule of every request."""
