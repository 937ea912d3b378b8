"""Places: where counters live, a new one for each app."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.processes import Children
from tests.stores.redis_server import RedisServer

Place = Callable[[], str | None]
"""Returns the URL of an empty database, or None for the memory of this process."""

_MOST = 10_000


def memory() -> None:
    """Return no URL."""


class Databases:
    """The databases of one Redis server, which starts when the first is asked for."""

    def __init__(self, until_the_end: ExitStack) -> None:
        self._until_the_end = until_the_end
        self._numbers = count()
        self._server: RedisServer | None = None

    def __call__(self) -> str:
        """Return the URL of one that nobody else has."""
        if self._server is None:
            self._server = self._start()
        return f"{self._server.url}/{next(self._numbers)}"

    def _start(self) -> RedisServer:
        folder = self._until_the_end.enter_context(TemporaryDirectory())
        children = Children(Path(folder))
        self._until_the_end.callback(children.stop)
        return RedisServer(children, "redis", "--databases", _MOST)


@contextmanager
def databases() -> Iterator[Databases]:
    """Lend databases; their server ends with the block."""
    with ExitStack() as until_the_end:
        yield Databases(until_the_end)
