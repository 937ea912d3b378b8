"""A contest: one table."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.benchmarks.driver import Run, run
from tests.benchmarks.frames import Frame
from tests.benchmarks.measure import Entry
from tests.benchmarks.stacks import Stack


@dataclass(frozen=True, slots=True)
class Contest:
    """One table.

    Attributes:
        title: What is compared.
        entries: Who takes part; the first is the bare app.
        yardstick: The name of the entry that the others are shown as a share of.
        whole: Whether that is a share of the whole cost rather than of what is added to the bare
            app's: refusals add nothing, they come instead.
        note: What a reader of the table should know.
        run: How requests are sent.
    """

    title: str
    entries: tuple[Entry, ...]
    yardstick: str
    whole: bool = False
    note: str = ""
    run: Run = run

    @property
    def bare(self) -> str:
        """The name of the bare app's entry."""
        return self.entries[0].stack.name

    def only(self, matches: Callable[[str], object]) -> "Contest | None":
        """Return the contest between the entries that match; None if there are none.

        The bare app and the yardstick take part in any case.
        """
        chosen = [entry for entry in self.entries if matches(f"{self.title}: {entry.stack.name}")]
        if not chosen:
            return None
        needed = {self.bare, self.yardstick, *(entry.stack.name for entry in chosen)}
        kept = tuple(entry for entry in self.entries if entry.stack.name in needed)
        return replace(self, entries=kept)


def entries(*stacks: Stack, refuse: bool = False) -> tuple[Entry, ...]:
    """Return the entries of these stacks."""
    return tuple(Entry(stack, refuse) for stack in stacks)


def bare(frame: Frame) -> tuple[Stack, Stack]:
    """Return the bare app twice: the second shows what nothing at all seems to cost."""
    return Stack("bare", lambda _: frame(), ()), Stack("bare again", lambda _: frame(), ())
