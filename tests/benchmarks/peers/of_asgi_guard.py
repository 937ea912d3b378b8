"""Ours, where counters live elsewhere or there are several limits."""

from asgi_guard import RateLimit, Rule
from asgi_guard._asgi import ASGIApp
from asgi_guard.rate_limit.fields import Fields
from asgi_guard.rate_limit.stores.opening import MEMORY_STORE
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers.place import Place
from tests.benchmarks.promises import limits_by_each, shows, throttles
from tests.benchmarks.stacks import Settings, Stack

_FIELDS = shows("ratelimit", "ratelimit-policy")


def rate_limit(place: Place, limits: int, lease: int = 0) -> Stack:
    """Return the rate limit as it is by default: it tells every client what is left.

    Args:
        place: Where counters live.
        limits: How many limits there are.
        lease: Units that are taken from there at once; default 0, for no more than are used.
    """
    return _stack("RateLimit", place, limits, "draft-11", lease)


def without_fields(place: Place, limits: int) -> Stack:
    """Return the rate limit that tells clients nothing, as most of the others do not either."""
    return _stack("RateLimit(fields=None)", place, limits, None)


def _stack(name: str, place: Place, limits: int, fields: Fields, lease: int = 0) -> Stack:
    def build(settings: Settings) -> ASGIApp:
        app = fastapi()
        guard = RateLimit(
            *(Rule(quota, lease=lease) for quota in settings.quotas[:limits]),
            store=place() or MEMORY_STORE,
            store_timeout=5,
            fields=fields,
        )
        app.add_middleware(guard)
        return app

    shown = () if fields is None else (_FIELDS,)
    each = (limits_by_each,) if limits > 1 else ()
    return Stack(name, build, (throttles, *shown, *each))
