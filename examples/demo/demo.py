"""The demo: serve the app, walk through it, go on serving."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TypeAlias

from rich.console import Console
from starlette.types import ASGIApp

from examples.demo.app import create_app
from examples.demo.payments import Payments
from examples.demo.report import ConsoleLog, Report, make_console
from examples.demo.serving import serving
from examples.demo.walk import walk

MakeApp: TypeAlias = Callable[[str, str], ASGIApp]


def demo(*, once: bool, make_app: MakeApp = create_app) -> int:
    """Serve the app, walk through it, and return the exit code.

    Args:
        once: Whether to end when the walk is done.
        make_app: Makes the app from the URLs of its database and of its downstream.
    """
    console = make_console()
    payments = Payments()
    with (
        _logging_to(console),
        TemporaryDirectory(prefix="asgi_guard-") as directory,
        serving(payments.app) as payments_url,
        serving(make_app(_database_url(directory), payments_url)) as url,
    ):
        console.print(f"asgi_guard demo: a FastAPI app behind one Guard, on {url}")
        report = Report(console)
        began = monotonic()
        asyncio.run(walk(url, payments, report))
        console.print()
        console.print(report.table())
        console.print(_summary(report, monotonic() - began))
        if once:
            return 0 if report.behaved else 1
        _serve(console, url, payments_url)
        return 0


def _database_url(directory: str) -> str:
    return f"sqlite+aiosqlite:///{Path(directory) / 'demo.db'}"


def _summary(report: Report, seconds: float) -> str:
    good = sum(not step.failures for step in report.steps)
    return f"{good} of {len(report.steps)} steps behaved, in {seconds:.0f} s"


def _serve(console: Console, url: str, payments_url: str) -> None:
    """Say what there is to try, and wait for Ctrl-C."""
    console.print(
        f"\nStill serving; press Ctrl-C to end. Look at\n\n"
        f"  {url}/health\n  {url}/metrics\n  {url}/docs\n\n"
        f"and try\n\n"
        f"  for i in 1 2 3 4 5 6; do curl -si -X POST {url}/login | head -1; done\n"
        f"  curl -X POST {payments_url}/break; "
        f"for i in 1 2 3 4; do curl -i -X POST {url}/pay; done\n"
        f"  curl -X POST {payments_url}/mend; sleep 2; curl -i -X POST {url}/pay\n",
        soft_wrap=True,
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # one is enough: the end is near
        console.print("bye")


@contextmanager
def _logging_to(console: Console) -> Iterator[None]:
    log, handler = logging.getLogger("asgi_guard"), ConsoleLog(console)
    level = log.level
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
