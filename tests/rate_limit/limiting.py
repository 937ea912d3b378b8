"""An app behind rules, and what becomes of requests to it."""

from typing import Any

from asgi_guard import MemoryStore, RateLimit, Rule
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.shell import Shell
from asgi_guard.testing import FakeClock
from tests.driver import hello


class Limited:
    """The greeting app behind rules, on a clock that stands still.

    Attributes:
        clock: That clock.
    """

    def __init__(self, *rules: Rule | str, store: Any = None, **more: Any) -> None:
        self.clock = FakeClock(0.0)
        store = MemoryStore(clock=self.clock) if store is None else store
        settings = RateLimit(*rules, store=store, **more)
        self.layer = RateLimitLayer(settings)
        self.app = Shell(settings, hello, [self.layer])

    async def statuses(self, *requests: Any) -> list[int]:
        """Send requests one after the other."""
        return [(await request.run(self.app)).status for request in requests]

    def counts(self) -> list[tuple[int, int, int]]:
        """Return for each rule: allowed, denied, exempt."""
        return [(each.allowed, each.denied, each.exempt) for each in self.layer.snapshot()]


def on_redis(*rules: Rule | str, url: str, **more: Any) -> Limited:
    """Return the app behind rules that count in Redis, with time enough for an answer."""
    return Limited(*rules, store=RedisStore(url), store_timeout=5.0, **more)
