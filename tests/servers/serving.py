"""The servers, and how each is started."""

from dataclasses import dataclass

import httpx

from tests.processes import HOST, Child, Children, free_port

KINDS = ("uvicorn", "uvicorn-h11", "hypercorn", "granian")


@dataclass(frozen=True)
class Served:
    """An app that is being served."""

    child: Child
    port: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://{HOST}:{self.port}"

    @property
    def websocket_url(self) -> str:
        """Where it is for websockets."""
        return f"ws://{HOST}:{self.port}"


class Servers:
    """One child for each kind of server and app, started when it is first asked for."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._running: dict[tuple[str, str], Served] = {}

    def get(self, kind: str, app: str) -> Served:
        """Return the server that all tests share."""
        known = self._running.get((kind, app))
        if known is None:
            known = self._running[kind, app] = self.start(kind, app)
        return known

    def start(self, kind: str, app: str, *options: str) -> Served:
        """Start a server of one's own."""
        port = free_port()
        child = self._children.python(
            f"{kind}-{app}",
            *_command(kind, f"tests.servers.{app}", port),
            *options,
            ready=lambda: httpx.get(f"http://{HOST}:{port}/livez", trust_env=False),
        )
        return Served(child, port)


def _command(kind: str, target: str, port: int) -> list[str]:
    uvicorn = ["uvicorn", target, "--host", HOST, "--port", str(port), "--no-access-log"]
    return {
        "uvicorn": [
            *uvicorn,
            "--loop",
            "uvloop",
            "--http",
            "httptools",
            "--ws",
            "websockets-sansio",
        ],
        "uvicorn-h11": [*uvicorn, "--loop", "asyncio", "--http", "h11", "--ws", "wsproto"],
        "hypercorn": ["hypercorn", target, "--bind", f"{HOST}:{port}", "--workers", "0"],
        "granian": [
            *("granian", target, "--interface", "asgi", "--host", HOST, "--port", str(port)),
            *("--workers", "1", "--no-access-log"),
        ],
    }[kind]
