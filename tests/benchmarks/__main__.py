"""Compare our stack with what people assemble today: in time, in instructions, or served."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence

from tests.benchmarks.breakers import breakers_tables
from tests.benchmarks.contest import Contest
from tests.benchmarks.contests import contests
from tests.benchmarks.instructions import count
from tests.benchmarks.keys import keys_table, measure_keys
from tests.benchmarks.measure import Costs, Effort, measure
from tests.benchmarks.peers.place import databases
from tests.benchmarks.promises import verify
from tests.benchmarks.report import count_table, preamble, time_table
from tests.benchmarks.served.contest import served

_FULL = Effort(rounds=60, requests=300, clients=1000)
_QUICK = Effort(rounds=10, requests=100, clients=1000)
_COUNTED = Effort(rounds=1, requests=100, clients=50)
_TURNS, _FEW_TURNS = 8, 3
_CONNECTIONS = 32


def main() -> None:
    """Verify that every stack does its job, measure, and print the tables."""
    arguments = _arguments()
    if arguments.keys:
        print("", keys_table(measure_keys(arguments.keys, _progress)), sep="\n\n")
        return
    if arguments.breakers:
        print("", breakers_tables(_progress), sep="\n\n")
        return
    if arguments.served:
        rounds = arguments.rounds or (_FEW_TURNS if arguments.quick else _TURNS)
        served(rounds, arguments.connections, _progress)
        return
    standard = _COUNTED if arguments.instructions else _QUICK if arguments.quick else _FULL
    effort = Effort(
        rounds=arguments.rounds or standard.rounds,
        requests=arguments.requests or standard.requests,
        clients=arguments.clients or standard.clients,
    )
    load_before, _, _ = os.getloadavg()
    with databases() as fresh:
        chosen = contests(arguments.only, None if arguments.instructions else fresh)
        if not chosen:
            sys.exit(f"nothing is called {arguments.only.pattern!r}")
        asyncio.run(_verify(chosen))
        if arguments.instructions:
            counts = count(arguments.only.pattern, effort, _progress)
            tables = [count_table(contest, counts[contest.title]) for contest in chosen]
        else:
            tables = [time_table(contest, _measure(contest, effort)) for contest in chosen]
    _progress("done")
    print("", preamble(effort, load_before), *tables, sep="\n\n")


async def _verify(chosen: Sequence[Contest]) -> None:
    for contest in chosen:
        for entry in contest.entries:
            _progress(f"verifying {contest.title}: {entry.stack.name}")
            await verify(entry.stack)


def _measure(contest: Contest, effort: Effort) -> Costs:
    def after(number: int) -> None:
        _progress(f"measuring {contest.title}: round {number} of {effort.rounds}")

    return asyncio.run(measure(contest.entries, effort, after, contest.run))


def _progress(text: str) -> None:
    """Show a line in place of the one before."""
    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--rounds", type=_from(2), help="turns of each stack")
    parser.add_argument("--requests", type=_from(1), help="requests of each turn")
    parser.add_argument("--clients", type=_from(1), help="client addresses")
    parser.add_argument(
        "--only",
        type=re.compile,
        default="",
        metavar="PATTERN",
        help="stacks whose `TABLE: NAME` contains this regular expression",
    )
    parser.add_argument("--quick", action="store_true", help="a glance, in a few seconds")
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions, with valgrind"
    )
    parser.add_argument(
        "--served",
        action="store_true",
        help="what a real server serves, in less than three minutes; needs wrk",
    )
    parser.add_argument(
        "--connections",
        type=_from(1),
        default=_CONNECTIONS,
        help=f"with --served: how many are kept busy, {_CONNECTIONS} where nothing is said",
    )
    parser.add_argument(
        "--keys", type=_from(100_000), help="what so many keys take in this process"
    )
    parser.add_argument(
        "--breakers",
        action="store_true",
        help="what circuit breakers do in the situations that hurt, and what a call costs",
    )
    return parser.parse_args()


def _from(least: int) -> Callable[[str], int]:
    def count(text: str) -> int:
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return int(text)

    return count


if __name__ == "__main__":
    main()
