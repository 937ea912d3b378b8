"""From what was measured to what is said about it.

Costs are compared within a round, where stacks ran within moments of each other; a figure is the
median of all rounds, and its range holds the middle half of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import quantiles

from tests.benchmarks.measure import Costs

_MICRO = 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    """A median and the quartiles round it."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What is said about one stack; times are microseconds a request.

    Attributes:
        cpu: CPU time.
        added: CPU time beyond the bare app's.
        added_wall: The same by the clock on the wall.
        ratio: CPU time, as a multiple of the bare app's.
        share: The part of the yardstick's cost that this one has: of its added CPU time, or of
            the whole of it.
    """

    cpu: Figure
    added: Figure
    added_wall: Figure
    ratio: Figure
    share: Figure


def figures(costs: Costs, name: str, bare: str, yardstick: str, *, whole: bool) -> Figures:
    """Compare a stack with the bare app and with another stack.

    Args:
        costs: What was measured.
        name: The stack.
        bare: The bare app.
        yardstick: The other stack.
        whole: Whether the share is one of the whole cost rather than the added cost.
    """
    rounds = list(zip(costs[name], costs[bare], costs[yardstick], strict=True))
    return Figures(
        cpu=figure(own.cpu * _MICRO for own, _, _ in rounds),
        added=figure((own.cpu - base.cpu) * _MICRO for own, base, _ in rounds),
        added_wall=figure((own.wall - base.wall) * _MICRO for own, base, _ in rounds),
        ratio=figure(own.cpu / base.cpu for own, base, _ in rounds),
        share=figure(
            own.cpu / other.cpu if whole else (own.cpu - base.cpu) / (other.cpu - base.cpu)
            for own, base, other in rounds
        ),
    )


def figure(values: Iterable[float]) -> Figure:
    """Return the median of what was measured, with its range."""
    low, median, high = quantiles(values, n=4)
    return Figure(median, low, high)
