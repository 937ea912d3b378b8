"""Rate limiting without HTTP."""

from asgi_guard._checks import check_count
from asgi_guard.errors import ConfigurationError, Withheld
from asgi_guard.keys import bounded
from asgi_guard.rate_limit.algorithms import Algorithm  # noqa: TC001
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.quota import Quota, parse_quota
from asgi_guard.rate_limit.rules.rule import Rule
from asgi_guard.rate_limit.rules.running import open_counter
from asgi_guard.rate_limit.stores.opening import MEMORY_STORE, close_store, open_store
from asgi_guard.rate_limit.stores.store import Store


class RateLimiter:
    """A quota and a store: the limiter to use where no request is at hand.

    Args:
        quota: How much in how long, such as `"5/minute"`, or a `Quota`.
        store: `"memory://"` (the default) for a store of its own, the URL of a Redis or, with
            `async+` before it, of another storage that `limits` knows, or a store to share;
            limiters of the same quota in the same store share their counters.
        ban: What becomes of keys that are refused again and again, such as `Ban(after=10)`, whose
            refusals have a decision that is `banned`; default None: nothing.

    Raises:
        ConfigurationError: The quota or the store is wrong.
    """

    def __init__(
        self,
        quota: str | Quota,
        *,
        store: str | Store = MEMORY_STORE,
        ban: Ban | None = None,
    ) -> None:
        parsed = parse_quota("RateLimiter.quota", quota)
        self._store = open_store("RateLimiter.store", store)
        self._owns_store = isinstance(store, str)
        name = f"{parsed.count}/{parsed.period!r}s"
        algorithm: Algorithm = "sliding-window" if parsed.burst is None else "token-bucket"
        rule = Rule(parsed, name=name, algorithm=algorithm, ban=ban)
        self._counter = open_counter(self._store, rule, workers=1)

    async def hit(self, key: str, cost: int = 1) -> Decision:
        """Charge the quota of one key.

        Args:
            key: Whom to charge: a string; a long one is kept as its hash.
            cost: Units, a whole number from 0, which only looks, to 10^15 - 1; default 1.

        Returns:
            Whether the hit was admitted, and what is left. Refused hits are not charged.

        Raises:
            ConfigurationError: The key is no string, or the cost is out of range.
            StoreUnavailable: The store gives no answer.
        """
        if not isinstance(key, str):
            raise ConfigurationError("RateLimiter.hit.key", Withheld(key), "a string: str(key)")
        check_count("RateLimiter.hit.cost", cost, least=0)
        (decision,) = await self._store.hit([(self._counter, bounded(key), cost)])
        return decision

    async def aclose(self) -> None:
        """Close the store, if it was opened from a URL."""
        if self._owns_store:
            await close_store(self._store, owned=True)
