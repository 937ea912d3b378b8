"""The store contract: where counters live."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota

Counter: TypeAlias = Any
"""What a store keeps for one rule, over all keys: only the store that made it knows what it is."""

Charge: TypeAlias = tuple[Counter, str, int]
"""A counter, the key to charge, and the cost: units from 0 up, where 0 only looks."""


class Store(Protocol):
    """Keeps counters, on a clock of its own."""

    def counter(self, rule: str, quota: Quota, algorithm: Algorithm = "sliding-window") -> Counter:
        """Return the counter of a rule, to be charged many times.

        Args:
            rule: The rule's name. What was counted belongs to the name, the algorithm and the
                period, so a rule whose count has changed goes on from the units already used.
            quota: Count and period, and the burst of a token bucket.
            algorithm: How to count.

        Raises:
            ConfigurationError: This store has no such algorithm.
        """
        ...

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge all counters in one atomic step, or none of them if one refuses.

        Args:
            charges: What to charge; no two of them share rule, period and key.
            within: Seconds in which an answer is wanted; None for a time of the store's own.

        Returns:
            A decision for each charge, in order. Where one refused, the others say what they
            would have said, and their `remaining` is uncharged.

        Raises:
            StoreUnavailable: There is no answer, or none within that time.
        """
        ...


@runtime_checkable
class GivesBack(Protocol):
    """A store that can give back later what it has charged."""

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses; see `Store.hit`."""
        ...

    async def give_back(
        self, charges: Sequence[Charge], *, age: float, within: float | None = None
    ) -> None:
        """Undo charges, each by itself; never to below zero.

        Args:
            charges: What was charged, with the units to give back.
            age: Seconds since then, from 0 up. Where the window of a charge is gone meanwhile,
                nothing is given back.
            within: Seconds in which it should be done; None for a time of the store's own.

        Raises:
            StoreUnavailable: There is no answer, or none within that time.
        """
        ...
