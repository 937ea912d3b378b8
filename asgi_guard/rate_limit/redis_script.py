"""The script that decides on a Redis server: what it is asked, and what its answer means."""

from collections.abc import Iterable, Sequence
from hashlib import sha1
from importlib.resources import files

from asgi_guard.rate_limit.conversation import Question
from asgi_guard.rate_limit.decision import Decision

SCRIPT = files("asgi_guard.rate_limit").joinpath("redis.lua").read_text("utf-8")
"""What decides, in Lua."""

SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""What a server calls it."""

MICROSECOND = 1e-6
PLAIN = 3  # numbers of an answer, for each charge
LENDING = 4  # the same, with the units that were taken beside it


def framed(name: bytes) -> bytes:
    """Return the name of a key as it travels, in RESP."""
    return b"$%d\r\n%b\r\n" % (len(name), name)


def unframed(name: bytes) -> bytes:
    """Return the name of a key from what travels."""
    return name[name.index(b"\n") + 1 : -2]


def question(charges: Iterable[tuple[bytes, int, int]], width: int) -> bytes:
    """Return what is asked, but for its keys.

    Args:
        charges: For each charge the numbers of its counter, the cost, and what is extra: units to
            take beside it, or the age of what is given back, in microseconds.
        width: How many numbers are wanted for each charge: `PLAIN` or `LENDING`.
    """
    asked = [b"%b %d %d" % charge for charge in charges]
    return b"%d %d %b" % (len(asked), width, b" ".join(asked))


def arguments(questions: Sequence[Question]) -> tuple[list[bytes], bytes]:
    """Return the keys of questions, framed, and what is asked: once for those who ask alike."""
    keys: list[bytes] = []
    groups: list[bytes] = []
    last, count = questions[0][2], 0
    for _, _, asked, own, _ in questions:
        keys += own
        if asked != last:
            groups.append(b"%d %b" % (count, last))
            last, count = asked, 0
        count += 1
    groups.append(b"%d %b" % (count, last))
    return keys, b" ".join(groups)


def decision(left: int, reset: int, retry: int) -> Decision:
    """Return the decision that is told by these numbers."""
    return Decision(
        retry == 0, left, reset * MICROSECOND, None if retry < 0 else retry * MICROSECOND
    )


def decisions(numbers: Sequence[int]) -> list[Decision]:
    """Return the decisions of an answer of `PLAIN` numbers."""
    return [
        decision(numbers[at], numbers[at + 1], numbers[at + 2])
        for at in range(0, len(numbers), PLAIN)
    ]
