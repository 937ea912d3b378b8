"""Rate limits, ours and others, with one limit and with three, in memory and on Redis."""

from collections.abc import Callable, Iterator

from tests.benchmarks.contest import Contest, bare, entries
from tests.benchmarks.driver import run, run_in_lines
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers import of_asgi_guard
from tests.benchmarks.peers.of_asgi_ratelimit import asgi_ratelimit
from tests.benchmarks.peers.of_limits import limits
from tests.benchmarks.peers.of_pyrate import fastapi_limiter, pyrate_limiter
from tests.benchmarks.peers.of_slowapi import slowapi
from tests.benchmarks.peers.of_throttled import throttled
from tests.benchmarks.peers.place import Databases, Place, memory
from tests.benchmarks.stacks import Stack

_KINDS: tuple[Callable[[Place, int], Stack], ...] = (
    *(of_asgi_guard.rate_limit, of_asgi_guard.without_fields, slowapi, limits, throttled),
    *(asgi_ratelimit, pyrate_limiter, fastapi_limiter),
)
_NOTE = (
    "limits (sliding window counter), throttled-py (GCRA) and pyrate-limiter are each in the "
    "smallest middleware there is, the others in their own; only `RateLimit` adds header fields "
    "to every response, and only ours and asgi-ratelimit tell the refused when to come back."
)
_MONTHS = "asgi-ratelimit is left out: it has no limit by the year, which is the third one here."
_LINES = (
    "32 requests are always under way; CPU time is that of the app's process, without the server's."
)


def rate_limits_in_memory() -> list[Contest]:
    """Return the contests of limiters that keep their counters in this process."""
    return list(_contests("Rate limits in memory", memory))


def rate_limits_on_redis(databases: Databases) -> list[Contest]:
    """Return the contests of limiters that keep them in a Redis, each in a database of its own."""
    return list(_contests("Rate limits on Redis", databases))


def _contests(title: str, place: Place) -> Iterator[Contest]:
    how = run if place is memory else run_in_lines
    for number, words in ((1, "one limit"), (3, "three limits")):
        for refuse in (False, True):
            left_out = asgi_ratelimit if refuse and number > 1 else None
            stacks = [kind(place, number) for kind in _KINDS if kind is not left_out]
            notes = (_NOTE, _MONTHS if left_out else "", "" if place is memory else _LINES)
            yield Contest(
                f"{title}, {words}{', refusing with 429' if refuse else ''}",
                (*entries(*bare(fastapi)), *entries(*stacks, refuse=refuse)),
                stacks[0].name,
                whole=refuse,
                note=" ".join(filter(None, notes)),
                run=how,
            )
