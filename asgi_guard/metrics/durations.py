"""Durations: a histogram of which observing is a comparison or a few, and two additions.

prometheus-client's own histogram takes a lock and a chain of calls for each observation, which is
more than everything else that a request is measured with.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import TypeAlias

BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0),
)
"""Upper bounds in seconds, as the semantic conventions of OpenTelemetry advise."""

SHORTEST = BUCKETS[0]
"""Up to here, a duration is in the first bucket, which need not be looked for."""

OTHER_METHOD = "_OTHER"
"""What a method is called that no specification has heard of."""

_METHODS = (
    *("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"),
    OTHER_METHOD,
)

Labels: TypeAlias = tuple[str, str, int]


Row: TypeAlias = list[float]
"""One series: the sum, then a count for each bucket, and one for what is longer than all."""


def bucket(seconds: float) -> int:
    """Return the place of a duration in a row."""
    return bisect_left(BUCKETS, seconds) + 1


class Durations:
    """How long requests took, by method, route and status.

    Attributes:
        active: Requests inside now, by method.
    """

    __slots__ = ("_rows", "active")

    def __init__(self) -> None:
        self.active: dict[str, int] = dict.fromkeys(_METHODS, 0)
        self._rows: dict[Labels, Row] = {}

    def row(self, labels: Labels) -> Row:
        """Return the series of these labels."""
        row = self._rows.get(labels)
        if row is None:
            row = self._rows[labels] = [0.0] * (len(BUCKETS) + 2)
        return row

    def rows(self) -> Iterator[tuple[Labels, list[tuple[str, float]], float]]:
        """Return labels, counts up to each bound, and the sum, of every row."""
        for labels, row in self._rows.copy().items():
            total, *counts = row.copy()
            reached, buckets = 0.0, []
            for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
                reached += count
                buckets.append((bound, reached))
            yield labels, buckets, total
