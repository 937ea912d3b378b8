"""The moody server as tests see it."""

from itertools import count

import httpx

from tests.processes import HOST, Children, free_port

_names = count()


class Moody:
    """A uvicorn that serves `moody_app`."""

    def __init__(self, children: Children) -> None:
        self.port = free_port()
        # No connection is kept: none but those of the test's client are open.
        self._http = httpx.Client(
            base_url=f"http://{HOST}:{self.port}",
            limits=httpx.Limits(max_keepalive_connections=0),
            timeout=20,
            trust_env=False,
        )
        command = ("uvicorn", "tests.downstream.moody_app:app", "--host", HOST, "--lifespan", "off")
        children.python(
            "moody",
            *(*command, "--port", self.port, "--no-access-log"),
            ready=lambda: self._http.get("/seen/ready").raise_for_status(),
        )

    def work(self, **mood: object) -> "Work":
        """Return something to be asked for, that no other test asks for."""
        work = Work(self._http, self.port, f"w{next(_names)}")
        work.mood(**mood)
        return work

    def close(self) -> None:
        """Ask it no more."""
        self._http.close()


class Work:
    """One path of the server, with a mood of its own."""

    def __init__(self, http: httpx.Client, port: int, name: str) -> None:
        self._http = http
        self.port = port
        self.path = f"/task/{name}"
        self._name = name

    @property
    def url(self) -> str:
        """Where it is, without a proxy between."""
        return self.through(self.port)

    def through(self, port: int) -> str:
        """Return where it is behind a proxy on that port."""
        return f"http://{HOST}:{port}{self.path}"

    def mood(self, **mood: object) -> None:
        """Change how it answers: the fields of `Mood`."""
        self._http.put(f"/mood/{self._name}", json=mood).raise_for_status()

    @property
    def seen(self) -> int:
        """How many requests have come in."""
        return int(self._http.get(f"/seen/{self._name}").json()["seen"])

    @property
    def most_at_once(self) -> int:
        """How many of them were there at once."""
        return int(self._http.get(f"/seen/{self._name}").json()["most_at_once"])
