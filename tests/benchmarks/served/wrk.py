"""Load: wrk keeps so many connections busy for some seconds."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

_CLIENTS = Path(__file__).with_name("clients.lua")
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
_TOTAL = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)


def need_wrk() -> None:
    """End here if there is no wrk."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed to measure what is served, and is not on PATH (apt install wrk)")


def wrk(url: str, connections: int, seconds: int) -> tuple[float, int]:
    """Keep connections busy for some seconds; return the requests per second, and all requests.

    Raises:
        RuntimeError: Something else than a response with status 200 came back.
    """
    said = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(_CLIENTS), url],
        capture_output=True,
        text=True,
        check=True,
        timeout=seconds + 30,
    ).stdout
    rate, total = _RATE.search(said), _TOTAL.search(said)
    if rate is None or total is None or "Non-2xx" in said or "Socket errors" in said:
        raise RuntimeError(f"{url} was not served as it should be:\n{said}")
    return float(rate[1]), int(total[1])
