"""What is known of a downstream at one moment."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from asgi_guard.breaker.fallback import Fallback
from asgi_guard.downstream.counts import Counts
from asgi_guard.downstream.lines import Lines


@dataclass(frozen=True, slots=True)
class DownstreamSnapshot:
    """The state of a downstream at one moment, over all event loops, and its counts so far.

    Attributes:
        name: The downstream's name.
        max_concurrent: Calls at once in each event loop.
        max_queue: Callers that may wait in each event loop.
        in_flight: Calls inside.
        waiting: Callers that wait.
        waiting_by_priority: The same, by the priority they came with.
        starts: Calls and blocks that were begun, retries included.
        queue_full: Callers refused because nobody more may wait.
        timeout: Callers refused because their time was over before their call.
        circuit_open: Callers refused because the breaker was open.
        waits: Callers that had to wait, whatever came of it.
        waited_seconds: Seconds that they waited, together.
        longest_wait: The most seconds that one waited.
        retries: Attempts after the first.
        retries_denied: Retries that were not made because the budget was spent.
        fallbacks: How often the fallback stood in.
        fallbacks_failed: How often that failed.
        stale: How often a kept result stood in.
    """

    name: str
    max_concurrent: int
    max_queue: int
    in_flight: int
    waiting: int
    waiting_by_priority: Mapping[int, int]
    starts: int
    queue_full: int
    timeout: int
    circuit_open: int
    waits: int
    waited_seconds: float
    longest_wait: float
    retries: int
    retries_denied: int
    fallbacks: int
    fallbacks_failed: int
    stale: int


_COUNTED = (
    "starts",
    "queue_full",
    "timeout",
    "circuit_open",
    "waits",
    "retries",
    "retries_denied",
    "stale",
)


def snapshot_of(
    name: str,
    sizes: tuple[int, int],
    lines: Lines,
    counts: Counts,
    fallback: Fallback | None,
) -> DownstreamSnapshot:
    """Return what is known of a downstream.

    Args:
        name: Its name.
        sizes: Calls at once, and callers that may wait.
        lines: Its lines.
        counts: Its counts.
        fallback: Its fallback, if it has one.
    """
    waiting: Counter[int] = Counter()
    held = 0
    for _, line in lines.all():
        waiting += line.waiting()
        held += line.held
    with counts.lock:
        return DownstreamSnapshot(
            name=name,
            max_concurrent=sizes[0],
            max_queue=sizes[1],
            in_flight=held,
            waiting=waiting.total(),
            waiting_by_priority=dict(waiting),
            waited_seconds=counts.waited_seconds,
            longest_wait=counts.longest_wait,
            fallbacks=0 if fallback is None else fallback.served,
            fallbacks_failed=0 if fallback is None else fallback.failed,
            **{each: counts.numbers[each] for each in _COUNTED},
        )
