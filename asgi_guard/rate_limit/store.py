"""The store contract: where counters live."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota


class Charge(NamedTuple):
    """One quota that a hit is charged to.

    Attributes:
        rule: The rule's name. Counters belong to rule, period and key, so a changed count goes on
            from the units already used.
        quota: Count and period.
        key: Whom to charge.
        cost: Units, from 0 up; 0 only looks; default 1.
    """

    rule: str
    quota: Quota
    key: str
    cost: int = 1


class Store(Protocol):
    """Keeps counters, on a clock of its own."""

    async def hit(self, charges: Sequence[Charge]) -> Sequence[Decision]:
        """Charge all quotas in one atomic step, or none of them if one refuses.

        Args:
            charges: What to charge; no two of them share rule, period and key.

        Returns:
            A decision for each charge, in order. Where one refused, the others say what they
            would have said, and their `remaining` is uncharged.
        """
        ...
