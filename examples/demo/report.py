"""What the demo prints: lines while it goes, a table at the end."""

import logging
from collections.abc import Sequence
from textwrap import wrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 100
_INDENT = 3
_LABEL = 27
_LEAST_ROOM = 20


def make_console() -> Console:
    """Return a console for standard output, at most 100 columns wide."""
    console = Console(highlight=False, markup=False, emoji=False)
    console.width = min(_WIDTH, console.width) if console.is_terminal else _WIDTH
    return console


def say(console: Console, label: str, *lines: str, style: str = "") -> None:
    """Print a label, and lines beside it, wrapped where they are too long."""
    room = max(_LEAST_ROOM, console.width - _INDENT - _LABEL)
    for line in (part for each in lines for part in wrap(each, room, drop_whitespace=False)):
        row = Text(" " * _INDENT).append(f"{label:<{_LABEL}}", "cyan").append(line, style)
        console.print(row, soft_wrap=True)
        label = ""


class Step:
    """One step of the walk: what was sent, what happened, and what should have.

    Attributes:
        title: What the step is about.
        sent: What was sent, for the table.
        happened: What came back, for the table.
        failures: Every expectation that was not met, with what was seen instead.
    """

    def __init__(self, title: str, console: Console) -> None:
        self.title = title
        self.sent = ""
        self.happened = ""
        self.failures: list[str] = []
        self._console = console

    def say(self, label: str, *lines: str, style: str = "") -> None:
        """Print what is happening: a label, and lines beside it."""
        say(self._console, label, *lines, style=style)

    def expect(self, what: str, wanted: object, seen: object, met: bool | None = None) -> None:
        """Hold what was seen against what was wanted: equal to it, or `met` by another measure."""
        if not (wanted == seen if met is None else met):
            self.fail(f"{what}: expected {wanted}, saw {seen}")

    def fail(self, failure: str) -> None:
        """Note and print that something was not as it should be."""
        self.failures.append(failure)
        self.say("NOT AS EXPECTED", failure, style="bold red")


class Report:
    """All steps so far."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.steps: list[Step] = []

    @property
    def behaved(self) -> bool:
        """Whether there were steps, and every expectation of every step was met."""
        return bool(self.steps) and not any(step.failures for step in self.steps)

    def begin(self, title: str) -> Step:
        """Start a step."""
        step = Step(title, self.console)
        self.steps.append(step)
        self.console.print(Text(f"\n{len(self.steps)}  {title}", "bold"))
        return step

    def table(self) -> Table:
        """Return all steps as a table; of a step that failed it tells the failures."""
        table = Table(show_lines=True, width=self.console.width)
        table.add_column("step", ratio=20)
        table.add_column("what was sent", ratio=26)
        table.add_column("what happened", ratio=44)
        table.add_column("result", width=6)
        for number, step in enumerate(self.steps, 1):
            result = Text("FAILED", "bold red") if step.failures else Text("ok", "green")
            happened = "\n".join(step.failures) or step.happened
            table.add_row(f"{number} {step.title}", step.sent, happened, result)
        return table


class ConsoleLog(logging.Handler):
    """Prints what asgi_guard logs between the lines of the walk."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record."""
        line = f"{record.levelname} {record.getMessage()}"
        say(self._console, "asgi_guard logged", line, style="yellow")


def duration(seconds: Sequence[float]) -> str:
    """Say how long things took: the shortest and the longest of them."""
    if not seconds:
        return "no time at all"
    unit, scale = ("s", 1.0) if max(seconds) >= 1 else ("ms", 1000.0)
    digits = 1 if unit == "s" else 0
    shortest, longest = (f"{edge * scale:.{digits}f}" for edge in (min(seconds), max(seconds)))
    return f"{shortest} {unit}" if shortest == longest else f"{shortest} to {longest} {unit}"
