"""The counters of Redis: what a rule's keys are called there, and what the script is told of it."""

from dataclasses import dataclass, field

from asgi_guard.errors import ConfigurationError
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.quota import Quota

MICROSECOND = 1e-6
_NUMBERS: dict[str, int] = {"sliding-window": 1, "fixed-window": 2, "token-bucket": 3}
_WITH_BAN = 10  # on top of the number of an algorithm


@dataclass(frozen=True, slots=True)
class RedisCounter:
    """The counter of one rule.

    Attributes:
        key: What its keys on the server begin with.
        numbers: What the script needs to know of it: algorithm, count, period, burst, share, and
            the terms of a ban.
        window: Seconds after which a unit that was taken is worth nothing any more; None for the
            end of the server's window.
        lease: Units that are taken at once, 0 or 1 for no more than are used.
        bans: What the keys of its bans on the server begin with; none where nobody is banned.
        key_bytes: The same as `key`, as it is sent.
    """

    key: str
    numbers: bytes
    window: float | None
    lease: int = 0
    bans: bytes = b""
    key_bytes: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Prepare what all keys begin with."""
        object.__setattr__(self, "key_bytes", self.key.encode())

    def names(self, key: str) -> tuple[bytes, ...]:
        """Return the names of a key on the server, as they travel; two where it may be banned."""
        encoded = key.encode("utf-8", "surrogatepass")
        name = _framed(self.key_bytes + encoded)
        return (name, _framed(self.bans + encoded)) if self.bans else (name,)


def redis_counter(
    tag: str,
    rule: str,
    quota: Quota,
    algorithm: Algorithm,
    *,
    lease: int,
    workers: int,
    ban: Ban | None,
) -> RedisCounter:
    """Return the counter of a rule, whose keys begin with a tag; see `RedisStore.counter`.

    Raises:
        ConfigurationError: Redis has no such algorithm.
    """
    number = _NUMBERS.get(algorithm)
    if number is None:
        raise ConfigurationError(
            "Rule.algorithm", algorithm, f"one of {', '.join(_NUMBERS)} on Redis"
        )
    window = quota.period * quota.capacity / quota.count  # of a bucket, to fill
    named = rule.replace("%", "%25").replace(":", "%3A")  # so that it ends where the key begins
    period = b"%.17g" % (quota.period / MICROSECOND)
    told = number if ban is None else number + _WITH_BAN
    numbers = b"%d %d %s %d %d" % (told, quota.count, period, quota.capacity, 2 * workers)
    return RedisCounter(
        key=f"{tag}{named}:{number}:{quota.period!r}:",
        numbers=numbers if ban is None else numbers + _terms(ban),
        window=None if algorithm == "fixed-window" else window,
        lease=lease,
        bans=b"" if ban is None else f"{tag}{named}:ban:".encode(),
    )


def _framed(name: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(name), name)


def _terms(ban: Ban) -> bytes:
    within, lasts, longest = (
        max(1, round(seconds / MICROSECOND)) for seconds in (ban.within, ban.lasts, ban.longest)
    )
    return b" %d %d %d %.17g %d" % (ban.after, within, lasts, ban.multiplier, longest)
