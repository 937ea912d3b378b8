"""What may be done to any server of the tests' own, and undone."""

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.processes import Child, Children, free_port, freeze


class Server(ABC):
    """A server on a loopback port, with a folder to work in.

    Args:
        children: What starts it.
        name: What it is called in logs; its folder is called so, too.
        port: Its port; a free one by default.
    """

    def __init__(self, children: Children, name: str, port: int | None = None) -> None:
        self.name = name
        self.port = free_port() if port is None else port
        self.folder = children.folder / name
        self.folder.mkdir()
        self._children = children
        self.child = self._serve()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is."""

    @abstractmethod
    def clear(self) -> None:
        """Forget everything."""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process that serves, another one after each `restart`."""
        return self.child.process

    def freeze(self) -> None:
        """Keep it from answering anybody; the kernel still takes their connections."""
        freeze(self.process.pid)

    def thaw(self) -> None:
        """Let it answer again, those too who asked while it was frozen."""
        self.process.send_signal(signal.SIGCONT)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze it for a block."""
        self.freeze()
        try:
            yield
        finally:
            self.thaw()

    def kill(self) -> None:
        """End it with all its connections, without a goodbye."""
        self.process.kill()
        self.process.wait(10)

    def restart(self) -> None:
        """Serve again on the same port, with nothing of what was stored."""
        self.child.stop()
        self.child = self._serve()

    def revive(self) -> None:
        """Thaw it if it is frozen, and restart it if it is dead."""
        self.thaw()
        if self.process.poll() is not None:
            self.restart()

    def mend(self) -> None:
        """Undo what a test did to it: revive it, and clear it."""
        self.revive()
        self.clear()

    @abstractmethod
    def _command(self) -> Sequence[object]:
        """Return the program and its arguments."""

    @abstractmethod
    def _ask(self) -> object:
        """Ask it something, which fails while it is not ready."""

    def _serve(self) -> Child:
        return self._children.start(
            self.name,
            self._command(),
            self._ask,
            folder=self.folder,
            # Nothing is kept, a goodbye may take a second, and a frozen server would say none.
            stop_signal=signal.SIGKILL,
        )
