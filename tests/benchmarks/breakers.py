"""Circuit breakers: what they do in the situations that hurt, and what a call costs."""

import asyncio
import gc
import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from tests.benchmarks.report import markdown
from tests.breaker.matrix.breakers import ASYNC, SUBJECTS, SYNC, Decorate
from tests.breaker.matrix.rows import ROWS, cell

_CALLS, _ROUNDS = 300, 400
_BARE, _OURS, _YARDSTICK = "bare", "asgi_guard", "circuitbreaker"
Costs = dict[str, list[float]]


def breakers_tables(after: Callable[[str], None], rounds: int = _ROUNDS) -> str:
    """Return the behaviour matrix and the costs of a call.

    Args:
        after: Is told of progress.
        rounds: Turns of each breaker.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other packages
        matrix = asyncio.run(_matrix(after))
        after("measuring calls")
        costs = [_table("plain", _measure_plain(rounds))]
        costs.append(_table("async", asyncio.run(_measure_async(rounds))))
    names = ", ".join(f"{name} {version(name.replace('_', '-'))}" for name in SUBJECTS)
    return "\n\n".join([f"{names}.", "## Behaviour", matrix, "## Circuit breakers", *costs])


async def _matrix(after: Callable[[str], None]) -> str:
    rows: list[Sequence[str]] = [("situation", "wanted", *SUBJECTS)]
    for row in ROWS:
        after(f"looking at: {row.title}")
        found = [await cell(row, make) for make in SUBJECTS.values()]
        shown = (each if each == row.wanted else f"**{each}**" for each in found)
        rows.append((row.title, row.wanted, *shown))
    return markdown(rows)


def _bare(function: Decorate) -> Decorate:
    return function


def put_round(guard: Decorate, function: Any) -> Any:
    """Decorate a function."""
    return guard(function)


def _nothing() -> int:
    return 1


async def _nothing_async() -> int:
    return 1


def _measure_plain(rounds: int) -> Costs:
    makers = {_BARE: lambda: _bare, **SYNC}
    functions: dict[str, Any] = {name: put_round(make(), _nothing) for name, make in makers.items()}
    costs: Costs = {name: [] for name in functions}
    for name in _turns(list(functions), rounds):
        function = functions[name]
        began = time.perf_counter()
        for _ in range(_CALLS):
            function()
        costs[name].append((time.perf_counter() - began) / _CALLS * 1e6)
    return costs


async def _measure_async(rounds: int) -> Costs:
    makers = {_BARE: lambda: _bare, **ASYNC}
    functions: dict[str, Any] = {
        name: put_round(make(), _nothing_async) for name, make in makers.items()
    }
    costs: Costs = {name: [] for name in functions}
    for name in _turns(list(functions), rounds):
        function = functions[name]
        began = time.perf_counter()
        for _ in range(_CALLS):
            await function()
        costs[name].append((time.perf_counter() - began) / _CALLS * 1e6)
    return costs


def _turns(names: list[str], rounds: int) -> list[str]:
    """Return who has its turn when: all of them in each round, in another order each time."""
    gc.collect()
    shuffle = random.Random(2026).shuffle
    turns: list[str] = []
    for _ in range(rounds):
        shuffle(names)
        turns += names
    return turns


def _table(kind: str, costs: Costs) -> str:
    added = {
        name: statistics.median(x - y for x, y in zip(costs[name], costs[_BARE], strict=True))
        for name in costs
        if name != _BARE
    }
    rows: list[Sequence[str]] = [(f"{kind} calls", "added µs", f"to {_YARDSTICK}", f"to {_OURS}")]
    rows += [
        (name, f"{cost:.2f}", f"{cost / added[_YARDSTICK]:.2f}", f"{cost / added[_OURS]:.2f}")
        for name, cost in added.items()
    ]
    return markdown(rows)
