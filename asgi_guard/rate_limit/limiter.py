"""Rate limiting without HTTP."""

from asgi_guard._checks import check_count
from asgi_guard.errors import ConfigurationError, Withheld
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.memory import MemoryStore
from asgi_guard.rate_limit.quota import Quota, parse_quota
from asgi_guard.rate_limit.store import Store

MEMORY_STORE = "memory://"


def open_store(field: str, store: object) -> Store:
    """Return the store itself, or a new one for its URL.

    Raises:
        ConfigurationError: It is no store, or a URL that names none.
    """
    if store == MEMORY_STORE:
        return MemoryStore()
    is_store = all(callable(getattr(store, method, None)) for method in ("counter", "hit"))
    if isinstance(store, type) or not is_store:
        shown = Withheld(store) if isinstance(store, str) and "@" in store else store
        raise ConfigurationError(
            field, shown, f"{MEMORY_STORE!r} for one of its own, or a Store such as MemoryStore()"
        )
    return store  # type: ignore[return-value]  # a protocol's signature cannot be asked for


class RateLimiter:
    """A quota and a store: the limiter to use where no request is at hand.

    Args:
        quota: How much in how long, such as `"5/minute"`, or a `Quota`.
        store: `"memory://"` (the default) for a store of its own, or a store to share; limiters of
            the same quota in the same store share their counters.

    Raises:
        ConfigurationError: The quota or the store is wrong.
    """

    def __init__(self, quota: str | Quota, *, store: str | Store = MEMORY_STORE) -> None:
        parsed = parse_quota("RateLimiter.quota", quota)
        self._store = open_store("RateLimiter.store", store)
        self._counter = self._store.counter(f"{parsed.count}/{parsed.period:g}s", parsed)

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Charge the quota of one key.

        Args:
            key: Whom to charge.
            cost: Units, a whole number from 0 up; 0 only looks.

        Returns:
            Whether the hit was admitted, and what is left. Refused hits are not charged.

        Raises:
            ConfigurationError: The cost is out of range.
        """
        check_count("RateLimiter.hit.cost", cost, least=0)
        (decision,) = await self._store.hit([(self._counter, key, cost)])
        return decision
