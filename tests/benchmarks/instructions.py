"""Instructions: counted with callgrind, they hardly differ from run to run, on a busy machine too.

Only stacks with a thread of their own vary: limits sweeps its memory by the clock, and time is slow
under valgrind.

One process runs under valgrind and builds every stack. For each it forks two children, of which
the second sends twice as many requests as the first. Both count on from what their parent has
counted, so the difference is what those requests cost.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.contests import contests
from tests.benchmarks.driver import Address, addresses, pick, run
from tests.benchmarks.measure import Effort, settle

Counts = dict[str, float]
"""Instructions a request, by the name of the stack."""


def count(pattern: str, effort: Effort, progress: Callable[[str], None]) -> dict[str, Counts]:
    """Count the instructions of all stacks whose `TABLE: NAME` matches.

    Args:
        pattern: A regular expression.
        effort: How much is counted; rounds do not matter.
        progress: Is told what is being counted.

    Returns:
        The counts of each contest, by its title.
    """
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is needed to count instructions, and is not on PATH")
    counts: dict[str, Counts] = {}
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [
                *("valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={folder}/%p"),
                *(sys.executable, "-m", __name__, pattern),
                *(str(effort.requests), str(effort.clients)),
            ],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stdout=subprocess.PIPE,
            text=True,
        )
        with process as running:
            assert running.stdout is not None
            for contest in contests(re.compile(pattern)):
                counts[contest.title] = {}
                for entry in contest.entries:
                    progress(f"counting {contest.title}: {entry.stack.name}")
                    once, twice = (_total(folder, pid) for pid in running.stdout.readline().split())
                    counts[contest.title][entry.stack.name] = (twice - once) / effort.requests
    return counts


def _total(folder: str, pid: str) -> int:
    lines = Path(folder, pid).read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("totals: "))


def _fork_all(pattern: str, requests: int, clients: list[Address]) -> None:
    """Under valgrind: tell the children's process ids, a line for each stack."""
    for contest in contests(re.compile(pattern)):
        for entry in contest.entries:
            app = entry.build()
            asyncio.run(run(app, clients))
            settle()
            senders = pick(clients, requests, seed=0)
            print(_fork(app, senders), _fork(app, senders * 2), flush=True)


def _fork(app: ASGIApp, senders: list[Address]) -> int:
    child = os.fork()
    if not child:
        try:
            asyncio.run(run(app, senders))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return child


if __name__ == "__main__":
    _fork_all(sys.argv[1], int(sys.argv[2]), addresses(int(sys.argv[3])))
