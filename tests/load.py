"""Load from outside: so many requests at once, so fast, and what became of them."""

import re
import shutil
import subprocess
from collections.abc import Mapping

from tests.processes import unavailable

NO_RESPONSE = 0
_ENDED_WITHIN = 50.0  # seconds, less than what a test may take
_STATUS = re.compile(r"^  \[(\d+)\]\t(\d+) responses$", re.MULTILINE)


def hey(
    url: str,
    requests: int,
    concurrency: int,
    rate: float | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[int, int]:
    """GET a URL over and over, and return how many responses had which status.

    Args:
        url: What to ask for.
        requests: How many times; a multiple of `concurrency`, as every worker sends as many.
        concurrency: How many workers there are, each on a connection of its own.
        rate: Requests per second, all workers together; as fast as they can by default.
        headers: What to send with each.

    Returns:
        The number of responses for each status; requests without a response are `NO_RESPONSE`.
    """
    assert requests % concurrency == 0
    program = shutil.which("hey")
    if program is None:
        unavailable("hey (apt install hey)")
    command = [program, "-n", str(requests), "-c", str(concurrency)]
    if rate is not None:
        command += ["-q", str(rate / concurrency)]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    said = subprocess.run(
        [*command, url], capture_output=True, text=True, check=True, timeout=_ENDED_WITHIN
    ).stdout
    counts = {int(status): int(number) for status, number in _STATUS.findall(said)}
    answered = sum(counts.values())
    return counts if answered == requests else {**counts, NO_RESPONSE: requests - answered}
