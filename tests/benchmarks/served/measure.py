"""Measuring: a turn for each, and one of the bare app between any two."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.served.wrk import wrk

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Server:
    """A server, where it is and which process."""

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class Load:
    """How it is measured: turns of each server, connections that are kept busy, seconds a turn."""

    rounds: int
    connections: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What was measured in one turn.

    Attributes:
        rate: Requests a second.
        cpu: CPU seconds of the server's process for one request.
    """

    rate: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Pair:
    """A turn, and what the bare app did right before and after it, on average."""

    guarded: Turn
    bare: Turn


Pairs = dict[str, list[Pair]]
"""What was measured in each round, by the name of what was served."""


def measure(
    bare: Server,
    guarded: Mapping[str, Server],
    load: Load,
    after: Callable[[int], None],
) -> Pairs:
    """Measure all of them.

    Args:
        bare: The bare app.
        guarded: The others.
        load: How.
        after: Is told the number of each round that is over.
    """
    for server in (bare, *guarded.values()):
        _turn(server, replace(load, seconds=1))
    pairs: Pairs = {name: [] for name in guarded}
    before = _turn(bare, load)
    for number in range(load.rounds):
        for name, server in guarded.items():
            own = _turn(server, load)
            behind = _turn(bare, load)
            pairs[name].append(Pair(own, _between(before, behind)))
            before = behind
        after(number + 1)
    return pairs


def _between(one: Turn, other: Turn) -> Turn:
    return Turn((one.rate + other.rate) / 2, (one.cpu + other.cpu) / 2)


def _turn(server: Server, load: Load) -> Turn:
    before = _cpu(server.pid)
    rate, total = wrk(f"{server.url}/hello", load.connections, load.seconds)
    return Turn(rate, (_cpu(server.pid) - before) / total)


def _cpu(pid: int) -> float:
    """Return the CPU seconds that a process has had, of its own and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
