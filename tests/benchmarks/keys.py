"""What the in-process store takes for each key, and whether a million of them make it slow."""

import gc
import os
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, process_time, thread_time
from typing import Any

from asgi_guard import MemoryStore, Quota

_PERIOD = 3600.0
_QUOTA = Quota(1_000_000, _PERIOD)
_SEED = 2026
_SAMPLE = 100_000
_TIMES = 4  # a longest hit is repeated: what the machine adds to one it hardly adds to all


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        keys: How many keys there were.
        bytes_per_key: Memory that the process has taken for each, the key itself included.
        empty: CPU seconds of a hit on a key that is new, in a store that is empty.
        full: CPU seconds of a hit on one of all those keys, chosen at random.
        longest_hit: CPU seconds of the longest of all hits while the store filled, at best.
        longest_turn: The same while its windows moved on, and all that was in it was dropped.
    """

    keys: int
    bytes_per_key: float
    empty: float
    full: float
    longest_hit: float
    longest_turn: float


def measure_keys(count: int, progress: Callable[[str], None]) -> Figures:
    """Fill a store with keys, and measure.

    Args:
        count: How many keys.
        progress: Is told what is being measured.
    """
    progress("measuring an empty store")
    empty = min(_per_hit(_counter(count), map(_address, range(1000))) for _ in range(20))
    counter = _counter(count)
    progress(f"filling a store with {count:,} keys")
    gc.collect()
    gc.freeze()  # to walk through all that the benchmarks have imported is no pause of the store
    before = _resident()
    longest_hits = [_longest(counter, map(_address, range(count)), lasting=0.0)]
    bytes_per_key = (_resident() - before) / count
    progress("measuring a full store")
    sample = [_address(number) for number in random.Random(_SEED).sample(range(count), _SAMPLE)]
    full = min(_per_hit(counter, sample) for _ in range(5))
    progress("moving on")
    longest_turns = [_longest(counter, sample, lasting=4 * _PERIOD)]
    for again in range(1, _TIMES):
        progress(f"once more: {again + 1} of {_TIMES}")
        counter = _counter(count)
        longest_hits.append(_longest(counter, map(_address, range(count)), lasting=0.0))
        longest_turns.append(_longest(counter, sample, lasting=4 * _PERIOD))
    gc.unfreeze()
    return Figures(count, bytes_per_key, empty, full, min(longest_hits), min(longest_turns))


def keys_table(figures: Figures) -> str:
    """Render what was measured."""
    return "\n".join(
        [
            f"## {figures.keys:,} keys in this process",
            "",
            "| | |",
            "|:--|--:|",
            f"| bytes a key, with the key | {figures.bytes_per_key:.0f} |",
            f"| a hit on a new key, store empty | {figures.empty * 1e6:.2f} µs |",
            f"| a hit on any key, store full | {figures.full * 1e6:.2f} µs |",
            f"| ratio | {figures.full / figures.empty:.1f} |",
            f"| longest hit while it filled | {figures.longest_hit * 1e3:.2f} ms |",
            f"| longest hit while windows moved on | {figures.longest_turn * 1e3:.2f} ms |",
        ]
    )


def _counter(count: int) -> Any:
    store = MemoryStore(max_keys=4 * count)
    return store.counter("keys", _QUOTA)


def _address(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _per_hit(counter: Any, keys: Iterable[str]) -> float:
    keys = list(keys)
    began = process_time()
    for key in keys:
        counter.hit(key, 1, monotonic())
    return (process_time() - began) / len(keys)


def _longest(counter: Any, keys: Iterable[str], *, lasting: float) -> float:
    """Hit keys for as long as that seems to last; return the seconds of the longest hit."""
    # By the CPU's time: whatever else the machine does is no pause of the store.
    longest, now = 0.0, monotonic()
    step = lasting / _SAMPLE
    for key in keys:
        now += step
        began = thread_time()
        counter.hit(key, 1, now)
        longest = max(longest, thread_time() - began)
    return longest


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
