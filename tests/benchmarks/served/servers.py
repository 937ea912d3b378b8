"""The servers: uvicorn with one worker, httptools and uvloop, a child for each app."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from tests.benchmarks.peers.place import Databases
from tests.benchmarks.served.app import KINDS, NAME, URL, on_redis
from tests.benchmarks.served.measure import Server
from tests.processes import HOST, Children, free_port

_FACTORY = "tests.benchmarks.served.app:make"


@contextmanager
def servers(databases: Databases) -> Iterator[Mapping[str, Server]]:
    """Serve everything that is compared; the servers end with the block.

    Args:
        databases: Where counters live whose stack says that they are on Redis.
    """
    with TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            yield {
                name: _serve(children, name, databases() if on_redis(name) else None)
                for name in KINDS
            }
        finally:
            children.stop()


def _serve(children: Children, name: str, database: str | None) -> Server:
    port = free_port()
    url = f"http://{HOST}:{port}"
    child = children.start(
        name.replace(" ", "-"),
        [
            *(sys.executable, "-m", "uvicorn", "--factory", _FACTORY, "--host", HOST),
            *("--port", port, "--no-access-log", "--loop", "uvloop", "--http", "httptools"),
        ],
        ready=lambda: httpx.get(f"{url}/hello", trust_env=False).raise_for_status(),
        environment={**os.environ, NAME: name, **({} if database is None else {URL: database})},
    )
    return Server(url, child.process.pid)
