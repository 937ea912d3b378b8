"""Contests: which stacks are compared with which."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.benchmarks import today
from tests.benchmarks.frames import Frame, fastapi, plain_asgi
from tests.benchmarks.measure import Entry
from tests.benchmarks.ours import full_stack, our_stacks, rate_limit
from tests.benchmarks.stacks import Stack

_ASSEMBLED = (
    "`assembled` is SlowAPIASGIMiddleware with its header fields, the instrumentator, a middleware "
    "round an asyncio.Semaphore, and a /health route; with the decorator, slowapi limits the one "
    "route; SlowAPIMiddleware is what apps found in public install."
)


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
    """

    title: str
    entries: tuple[Entry, ...]
    yardstick: str
    whole: bool = False
    note: str = ""

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


def contests(pattern: re.Pattern[str]) -> list[Contest]:
    """Return everything that is compared, between the stacks whose `TABLE: NAME` matches."""
    found = (contest.only(pattern.search) for contest in _all())
    return [contest for contest in found if contest is not None]


def _all() -> list[Contest]:
    return [
        Contest(
            "Plain ASGI",
            _entries(*_bare(plain_asgi), *our_stacks(plain_asgi)),
            full_stack(plain_asgi).name,
        ),
        Contest(
            "FastAPI",
            _entries(
                *_bare(fastapi),
                *our_stacks(fastapi),
                *today.PARTS,
                today.DECORATOR_STACK,
                today.CLASSIC_STACK,
                today.MIDDLEWARE_STACK,
            ),
            today.MIDDLEWARE_STACK.name,
            note=_ASSEMBLED,
        ),
        Contest(
            "FastAPI, refusing with 429",
            (
                *_entries(_bare(fastapi)[0]),
                *_entries(
                    rate_limit(fastapi),
                    full_stack(fastapi),
                    today.SLOWAPI_DECORATOR,
                    today.SLOWAPI_MIDDLEWARE,
                    today.MIDDLEWARE_STACK,
                    refuse=True,
                ),
            ),
            today.SLOWAPI_MIDDLEWARE.name,
            whole=True,
        ),
    ]


def _entries(*stacks: Stack, refuse: bool = False) -> tuple[Entry, ...]:
    return tuple(Entry(stack, refuse) for stack in stacks)


def _bare(frame: Frame) -> tuple[Stack, Stack]:
    # The second shows what nothing at all seems to cost: the noise of the run.
    return Stack("bare", lambda _: frame(), ()), Stack("bare again", lambda _: frame(), ())
