"""Stores in storages of the `limits` package: memcached, MongoDB, and what others write for it.

They decide one key at a time, so several rules are not one atomic step here; what can happen is
told in docs/reference/rate-limit.md, "Other stores".
"""

import asyncio
import logging
import re
from collections.abc import Sequence
from weakref import WeakKeyDictionary

from limits.aio.storage import MemcachedStorage, MemoryStorage, Storage

from asgi_guard.errors import ConfigurationError
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.stores.limits_desk import Desk
from asgi_guard.rate_limit.stores.limits_storages import storage_opener
from asgi_guard.rate_limit.stores.limits_windows import WINDOWS, Window, algorithms_of, escaped
from asgi_guard.rate_limit.stores.store import Charge

_LOG = logging.getLogger("asgi_guard")
_PREFIX = re.compile(r"[\w.~-]{1,50}", re.ASCII)
_MOST_IN_A_LOG = 1000
_LONGEST_IN_MEMCACHED = 30 * 86400  # seconds; what is more it takes for a date


class LimitsStore:
    """Counters in an async storage of `limits`.

    It counts by sliding and moving windows where the storage can, and by fixed windows, of whole
    seconds. Each key is decided by itself: a hit on several looks at all of them first, then
    charges one after the other, and takes back what it charged where one refuses after all.

    Args:
        target: A URL with a scheme that begins with `async+`, for one storage for each event loop;
            or a storage of `limits.aio.storage`, of one event loop, which stays open.
        prefix: What its keys begin with: 1 to 50 letters, digits and `. _ ~ -`; default
            `asgi_guard`.

    Raises:
        ConfigurationError: The target is neither, its client is not installed, or the prefix is
            wrong.
    """

    def __init__(self, target: str | Storage, *, prefix: str = "asgi_guard") -> None:
        if not isinstance(prefix, str) or not _PREFIX.fullmatch(prefix):
            raise ConfigurationError(
                "LimitsStore.prefix", prefix, "1 to 50 letters, digits, and . _ ~ -"
            )
        self._prefix = prefix
        self._owns = isinstance(target, str)
        self._open = storage_opener(target)
        self._unused: Storage | None = self._open()
        self._kind = type(self._unused)
        self._algorithms = algorithms_of(self._unused)
        self._desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()
        self._told = False

    def counter(self, rule: str, quota: Quota, algorithm: Algorithm = "sliding-window") -> Window:
        """Return the counter of a rule; see `Store.counter`.

        Raises:
            ConfigurationError: The storage has no such algorithm, the period is no whole number of
                seconds or longer than it can keep, or a moving window is above 1,000 units.
        """
        if algorithm not in self._algorithms:
            raise ConfigurationError(
                "Rule.algorithm",
                algorithm,
                f"one of {', '.join(self._algorithms)} in {self._kind.__name__}",
            )
        if quota.period % 1:
            raise ConfigurationError(
                "Quota.period", quota.period, "whole seconds in storages of limits"
            )
        if algorithm == "moving-window" and quota.count > _MOST_IN_A_LOG:
            raise ConfigurationError(
                "Quota.count", quota.count, f"at most {_MOST_IN_A_LOG} in a moving window"
            )
        self._check_kept(quota, algorithm)
        # All but fixed windows are told exactly; of those, most storages know the whole seconds.
        coarse = algorithm == "fixed-window" and not issubclass(self._kind, MemoryStorage)
        name = f"{escaped(rule)}:{algorithm[0]}:{quota.period:.0f}"
        step = 1.0 if coarse else 0.001
        return WINDOWS[algorithm](self._prefix, name, quota.count, int(quota.period), step)

    async def hit(
        self, charges: Sequence[Charge], *, within: float | None = None
    ) -> Sequence[Decision]:
        """Charge all counters, or none of them if one refuses; see `Store.hit`.

        It is no atomic step: who is stopped by an error or a timeout in the middle may have charged
        some of them, or may charge them later.
        """
        if not charges:
            return []
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            self._tell()
            storage, self._unused = self._unused, None
            desk = self._desks[loop] = Desk(storage or self._open())
        return await desk.ask(charges, 1.0 if within is None else within)

    async def aclose(self) -> None:
        """Close the storage of this event loop, if it was opened by URL."""
        desk = self._desks.pop(asyncio.get_running_loop(), None)
        if desk is not None:
            await desk.aclose(close=self._owns)

    def _check_kept(self, quota: Quota, algorithm: Algorithm) -> None:
        if issubclass(self._kind, MemcachedStorage):
            most = _LONGEST_IN_MEMCACHED // (2 if algorithm == "sliding-window" else 1)
            if quota.period > most:
                raise ConfigurationError(
                    "Quota.period",
                    quota.period,
                    f"at most {most} seconds for a {algorithm} in memcached, which forgets at once "
                    "what should be kept longer",
                )

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            _LOG.warning(
                "rate limit: %s decides each rule by itself, not all in one step, so a request "
                "that one rule refuses may have used up units of another; see "
                "docs/reference/rate-limit.md#other-stores",
                self._kind.__name__,
            )
