"""The script that decides on a Redis server: what it is asked, and what its answer means."""

from collections.abc import Iterable, Sequence
from hashlib import sha1
from importlib.resources import files

from asgi_guard.rate_limit.decision import BanBegun, Banned, Decision
from asgi_guard.rate_limit.stores.conversation import Question
from asgi_guard.rate_limit.stores.redis_counter import MICROSECOND, RedisCounter

SCRIPT = files("asgi_guard.rate_limit.stores").joinpath("redis.lua").read_text("utf-8")
"""What decides, in Lua."""

SHA = sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
"""What a server calls it."""

PLAIN = 3  # numbers of an answer, for each charge
WIDE = 4  # the same, with the units that were taken beside it, or that it is banned
_BAN_BEGUN = -2


def unframed(name: bytes) -> bytes:
    """Return the name of a key from what travels."""
    return name[name.index(b"\n") + 1 : -2]


def question(charges: Iterable[tuple[bytes, int, int]], width: int) -> bytes:
    """Return what is asked, but for its keys.

    Args:
        charges: For each charge the numbers of its counter, the cost, and what is extra: units to
            take beside it, or the age of what is given back, in microseconds.
        width: How many numbers are wanted for each charge: `PLAIN` or `WIDE`.
    """
    asked = [b"%b %d %d" % charge for charge in charges]
    return b"%d %d %b" % (len(asked), width, b" ".join(asked))


def arguments(questions: Sequence[Question]) -> tuple[list[bytes], bytes]:
    """Return the keys of questions, framed, and what is asked: once for those who ask alike."""
    keys: list[bytes] = []
    groups: list[bytes] = []
    last, count = questions[0][3], 0
    for _, _, _, asked, own, _ in questions:
        keys += own
        if asked != last:
            groups.append(b"%d %b" % (count, last))
            last, count = asked, 0
        count += 1
    groups.append(b"%d %b" % (count, last))
    return keys, b" ".join(groups)


def width_for(counters: Iterable[RedisCounter]) -> int:
    """Return how many numbers are wanted for each charge of these counters, without leases."""
    return WIDE if any(counter.bans for counter in counters) else PLAIN


def decision(left: int, reset: int, retry: int, more: int = 0) -> Decision:
    """Return the decision that is told by these numbers."""
    kind = Decision if more >= 0 else BanBegun if more == _BAN_BEGUN else Banned
    return kind(retry == 0, left, reset * MICROSECOND, None if retry < 0 else retry * MICROSECOND)


def decisions(numbers: Sequence[int], width: int) -> list[Decision]:
    """Return the decisions of an answer, of so many numbers each."""
    return [decision(*numbers[at : at + width]) for at in range(0, len(numbers), width)]
