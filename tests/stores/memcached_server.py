"""A memcached of the tests' own."""

import os
import re
import shutil
import socket
from collections.abc import Sequence

from tests.processes import HOST, Children, unavailable
from tests.stores.server import Server


class MemcachedServer(Server):
    """One server on a free port; it comes from the distribution."""

    def __init__(self, children: Children, name: str) -> None:
        self._program = shutil.which("memcached")
        if self._program is None:
            unavailable("memcached (apt install memcached)")
        super().__init__(children, name)
        self._own_connections = 0
        self._own_connections = self.connections()  # it counts its sockets that listen, too

    @property
    def url(self) -> str:
        """Where it is."""
        return f"memcached://{HOST}:{self.port}"

    def clear(self) -> None:
        """Forget everything."""
        assert self._say(b"flush_all") == b"OK\r\n"

    def connections(self) -> int:
        """Return how many clients are connected, beside who asks."""
        found = re.search(rb"STAT curr_connections (\d+)", self._say(b"stats"))
        assert found
        return int(found[1]) - self._own_connections

    def _command(self) -> Sequence[object]:
        user = ("-u", "nobody") if os.geteuid() == 0 else ()  # it refuses to run as root
        return [self._program, "-l", HOST, "-p", self.port, "-U", 0, *user]

    def _ask(self) -> object:
        return self._say(b"version").startswith(b"VERSION ")

    def _say(self, command: bytes) -> bytes:
        with socket.create_connection((HOST, self.port), timeout=5) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(4096)
