"""The report, as Markdown that also reads well in a terminal."""

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version

from tests.benchmarks.contest import Contest
from tests.benchmarks.figures import Figure, Figures, figures
from tests.benchmarks.measure import Costs, Effort

_PACKAGES = (
    *("asgi-guard", "fastapi", "starlette", "prometheus-client"),
    *("slowapi", "limits", "prometheus-fastapi-instrumentator"),
    *("fastapi-limiter", "pyrate-limiter", "throttled-py", "asgi-ratelimit", "redis"),
)
_EXPLANATION = (
    "CPU time in µs a request. Stacks are compared within each round; shown are medians over the "
    "rounds, and the range that holds the middle half of them."
)

Row = Sequence[str]


def preamble(effort: Effort, load_before: float) -> str:
    """Tell what was run on what."""
    return (
        f"{machine(_PACKAGES, load_before)}; {effort.rounds} rounds of {effort.requests} requests, "
        f"{effort.clients} clients."
    )


def machine(packages: Sequence[str], load_before: float) -> str:
    """Tell where something was run, and with which packages."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}, "
        f"{os.cpu_count()} CPUs, load average {load_before:.2f} before and "
        f"{os.getloadavg()[0]:.2f} after; {versions}"
    )


def time_table(contest: Contest, costs: Costs) -> str:
    """Return the table of one contest in time."""
    rows: list[Row] = [
        ("stack", "CPU µs", "added", "range", "added wall", "to bare", _share(contest), "range")
    ]
    for entry in contest.entries:
        name = entry.stack.name
        found = figures(costs, name, contest.bare, contest.yardstick, whole=contest.whole)
        rows.append((name, *_cells(found)))
    return _section(contest, rows, _EXPLANATION)


def count_table(contest: Contest, counts: Mapping[str, float]) -> str:
    """Return the table of one contest in instructions."""
    bare = counts[contest.bare]
    base = 0.0 if contest.whole else bare
    rows: list[Row] = [("stack", "instructions", "added", "to bare", _share(contest))]
    for entry in contest.entries:
        count = counts[entry.stack.name]
        share = (count - base) / (counts[contest.yardstick] - base)
        rows.append(
            (
                *(entry.stack.name, f"{count:,.0f}", f"{count - bare:z,.0f}"),
                *(f"{count / bare:.2f}", f"{share:z.1%}"),
            )
        )
    return _section(contest, rows, "Instructions a request.")


def _cells(found: Figures) -> Row:
    return (
        f"{found.cpu.median:z.1f}",
        f"{found.added.median:z.1f}",
        _range(found.added),
        f"{found.added_wall.median:z.1f}",
        f"{found.ratio.median:.2f}",
        f"{found.share.median:z.1%}",
        _range(found.share, percent=True),
    )


def _range(figure: Figure, *, percent: bool = False) -> str:
    scale = 100 if percent else 1
    return f"{figure.low * scale:z.1f} … {figure.high * scale:z.1f}"


def _share(contest: Contest) -> str:
    return f"of {contest.yardstick}" if contest.whole else f"of what {contest.yardstick} adds"


def _section(contest: Contest, rows: Sequence[Row], explanation: str) -> str:
    text = f"{explanation} {contest.note}".strip()
    return f"## {contest.title}\n\n{markdown(rows)}\n\n{text}"


def markdown(rows: Sequence[Row]) -> str:
    """Return a table; its first row is the header."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *body = (_line(row, widths) for row in rows)
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join((header, _line(rule, widths), *body))


def _line(cells: Row, widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]
    return f"| {' | '.join(aligned)} |"
