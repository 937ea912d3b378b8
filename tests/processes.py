"""Servers as foreground children of the tests: on free loopback ports, stopped and waited for."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
HOST = "127.0.0.1"
_READY_WITHIN = 30.0  # seconds; a loaded machine imports slowly
_STOPPED_WITHIN = 15.0
EARLY = 0.01  # seconds that a timer may be early: uvloop counts whole milliseconds
_LOG_TAIL = 3000  # characters


def unavailable(reason: str) -> NoReturn:
    """End the test for want of a server: an error in CI, elsewhere a skip with its reason."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"not available, and CI must have it: {reason}", pytrace=False)
    pytest.skip(f"NOT TESTED, not available: {reason}")


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def until(
    ask: Callable[[], T], *, within: float = 10.0, alive: "Child | None" = None, pause: float = 0.02
) -> T:
    """Ask until the answer is true and no error; fail with the last one when it takes too long."""
    end = time.monotonic() + within
    while True:
        problem: object
        try:
            answer = ask()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not ready
            problem = repr(error)
        else:
            if answer:
                return answer
            problem = answer
        dead = alive is not None and alive.process.poll() is not None
        if dead or time.monotonic() > end:
            log = "" if alive is None else f"\n--- {alive.name} wrote:\n{alive.tail()}"
            pytest.fail(f"{'process ended' if dead else 'took too long'}: {problem}{log}")
        time.sleep(pause)


def freeze(pid: int) -> None:
    """Stop a process, and wait until each of its threads stands still: a signal takes its time."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: all(_state(thread) in "TZX" for thread in Path(f"/proc/{pid}/task").iterdir()))


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(") ")[2][0]


@dataclass(frozen=True, eq=False)
class Child:
    """A server that was started, with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM

    def tail(self) -> str:
        """Return the end of what it wrote."""
        return self.log.read_text(errors="replace")[-_LOG_TAIL:]

    def stop(self) -> int:
        """Ask it to end if it still runs, wait for it, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            self.process.send_signal(signal.SIGCONT)  # a frozen one could not take the other
        try:
            return self.process.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            pytest.fail(f"{self.name} did not end when asked to\n{self.tail()}", pytrace=False)


class Children:
    """All servers of one test session, in the order they were started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[object],
        ready: Callable[[], object],
        *,
        folder: Path = ROOT,
        environment: Mapping[str, str] | None = None,
        user: int | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> Child:
        """Start a server and return once it is ready, which `ready` finds out by asking it."""
        log = self.folder / f"{len(self._started):02d}-{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_tied(), *(str(part) for part in command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(_environment() if environment is None else environment),
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        child = Child(name, process, log, stop_signal)
        self._started.append(child)
        until(lambda: ready() or True, within=_READY_WITHIN, alive=child)
        return child

    def python(self, name: str, *arguments: object, ready: Callable[[], object]) -> Child:
        """Start `python -m ARGUMENTS` with this interpreter, in the root of the project."""
        return self.start(name, [sys.executable, "-m", *arguments], ready)

    def stop(self) -> None:
        """Stop all that still run, the last one first."""
        problems: list[str] = []
        for child in reversed(self._started):
            try:
                child.stop()
            except pytest.fail.Exception as error:
                problems.append(str(error))
        if problems:
            pytest.fail("\n".join(problems), pytrace=False)


def _tied() -> list[str]:
    # Where this can be had, servers end with the tests even when those are killed.
    setpriv = shutil.which("setpriv")
    return [] if setpriv is None else [setpriv, "--pdeathsig", "TERM", "--"]


def _environment() -> dict[str, str]:
    # A worker must find neither a proxy nor a shared metrics folder: both change what is tested.
    unwanted = {"http_proxy", "https_proxy", "all_proxy", "prometheus_multiproc_dir"}
    kept = {name: value for name, value in os.environ.items() if name.lower() not in unwanted}
    return {**kept, "PYTHONUNBUFFERED": "1"}
