"""The contest of what is served, from the proof of every stack to the table."""

import asyncio
import os
from collections.abc import Callable, Sequence

from tests.benchmarks.figures import Figure, figure
from tests.benchmarks.peers.place import Databases, databases, memory
from tests.benchmarks.promises import verify
from tests.benchmarks.report import Row, machine, markdown
from tests.benchmarks.served.app import BARE, KINDS, on_redis
from tests.benchmarks.served.measure import Load, Pair, Pairs, measure
from tests.benchmarks.served.servers import servers
from tests.benchmarks.served.wrk import need_wrk

_SECONDS = 2
_PACKAGES = ("asgi-guard", "fastapi", "uvicorn", "uvloop", "httptools", "redis", "slowapi")
_MICRO = 1e6

Progress = Callable[[str], None]


def served(rounds: int, connections: int, progress: Progress) -> None:
    """Verify, measure, and print the table."""
    need_wrk()
    load = Load(rounds, connections, _SECONDS)
    load_before, _, _ = os.getloadavg()
    with databases() as fresh:
        asyncio.run(_verify(fresh, progress))
        progress("starting the servers")
        with servers(fresh) as running:
            pairs = measure(
                running[BARE],
                {name: server for name, server in running.items() if name != BARE},
                load,
                lambda number: progress(f"measuring: round {number} of {rounds}"),
            )
    progress("done")
    print("", _table(pairs, load, load_before), sep="\n\n")


async def _verify(fresh: Databases, progress: Progress) -> None:
    for name, kind in KINDS.items():
        progress(f"verifying {name}")
        await verify(kind(fresh if on_redis(name) else memory))


def _table(pairs: Pairs, load: Load, load_before: float) -> str:
    rows: list[Row] = [
        ("served", "requests/s", "bare", "of bare", "range", "CPU µs", "bare", "of bare", "range")
    ]
    rows += [(name, *_cells(found)) for name, found in pairs.items()]
    return (
        f"{machine(_PACKAGES, load_before)}; uvicorn with one worker, wrk with {load.connections} "
        f"connections and 1000 clients, {load.rounds} rounds of {load.seconds} seconds each.\n\n"
        f"## Served over HTTP, FastAPI\n\n{markdown(rows)}\n\n"
        "Each turn is compared with the turns of the bare app right before and after it; shown are "
        "medians over the rounds, and the range that holds the middle half of them. CPU time is "
        "that of the server's process for one request, and its share of bare what would be left of "
        "the requests/s if that process were all that is busy."
    )


def _cells(pairs: Sequence[Pair]) -> Row:
    rate = figure(pair.guarded.rate / pair.bare.rate for pair in pairs)
    cpu = figure(pair.bare.cpu / pair.guarded.cpu for pair in pairs)
    return (
        f"{figure(pair.guarded.rate for pair in pairs).median:,.0f}",
        f"{figure(pair.bare.rate for pair in pairs).median:,.0f}",
        *_share(rate),
        f"{figure(pair.guarded.cpu * _MICRO for pair in pairs).median:.0f}",
        f"{figure(pair.bare.cpu * _MICRO for pair in pairs).median:.0f}",
        *_share(cpu),
    )


def _share(found: Figure) -> tuple[str, str]:
    return f"{found.median:.1%}", f"{found.low * 100:.1f} … {found.high * 100:.1f}"
