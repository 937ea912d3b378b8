"""The websockets server that clients dial."""

from itertools import count

import httpx

from tests.processes import HOST, Child, Children, free_port

_numbers = count()


class SocketServer:
    """A websockets server in a process of its own, to be killed and restarted on its port."""

    def __init__(self, children: Children, http: httpx.Client) -> None:
        self.port = free_port()
        self._children = children
        self._http = http
        self.child = self._serve()

    def url(self, path: str) -> str:
        """Return where a websocket of this path is."""
        return f"ws://{HOST}:{self.port}/{path}"

    def dials(self, kind: str) -> int:
        """Return how many dials there were of this kind of path since it was started."""
        return int(self._ask(f"count/{kind}"))

    def most_at_once(self) -> int:
        """Return the most dials within a tenth of a second."""
        return int(self._ask("most"))

    def kill(self) -> None:
        """End it without a goodbye."""
        self.child.process.kill()
        self.child.process.wait(10)

    def restart(self) -> None:
        """Serve again on the same port."""
        self.child = self._serve()

    def _ask(self, path: str) -> str:
        return self._http.get(f"http://{HOST}:{self.port}/{path}").raise_for_status().text

    def _serve(self) -> Child:
        return self._children.python(
            f"sockets-{next(_numbers)}",
            "tests.downstream.socket_server",
            self.port,
            ready=lambda: self._ask("most"),
        )
