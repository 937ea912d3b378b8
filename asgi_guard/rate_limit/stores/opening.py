"""Stores by URL."""

from asgi_guard.errors import ConfigurationError, Withheld
from asgi_guard.rate_limit.stores.memory import MemoryStore
from asgi_guard.rate_limit.stores.store import Store

MEMORY_STORE = "memory://"
_REDIS = frozenset({"redis", "rediss", "unix", "redis+cluster", "rediss+cluster", "redis+sentinel"})
_ASYNC = "async+"
_BLOCKING = frozenset({"memcached", "mongodb", "mongodb+srv", "valkey", "valkeys", "redis+unix"})
_ALLOWED = (
    f"{MEMORY_STORE!r} for one of its own, a URL such as 'redis://localhost' or "
    "'async+memcached://localhost:11211', or a Store such as MemoryStore()"
)


def open_store(field: str, store: object) -> Store:
    """Return the store itself, or a new one for its URL.

    Args:
        field: The setting that holds the store, for the error.
        store: A `Store`, or a URL.

    Raises:
        ConfigurationError: It is no store, or a URL that names none.
    """
    if isinstance(store, str):
        return _by_url(field, store)
    is_store = all(callable(getattr(store, method, None)) for method in ("counter", "hit"))
    if isinstance(store, type) or not is_store:
        raise ConfigurationError(field, store, _ALLOWED)
    return store  # type: ignore[return-value]  # a protocol's signature cannot be asked for


async def close_store(store: Store, *, owned: bool) -> None:
    """Close what a store has open, if it has anything; one of the user's gives back its leases."""
    close = getattr(store, "aclose" if owned else "end_leases", None)
    if close is not None:
        await close()


def _by_url(field: str, url: str) -> Store:
    if url == MEMORY_STORE:
        return MemoryStore()
    scheme, separator, _ = url.partition("://")
    if separator and scheme.startswith(_ASYNC):
        from asgi_guard.rate_limit.stores.limits import LimitsStore  # noqa: PLC0415 - seldom needed

        return LimitsStore(url)
    if separator and scheme in _BLOCKING:
        raise ConfigurationError(
            field, Withheld(url), f"'{_ASYNC}{scheme}://...', which does not block the event loop"
        )
    if not separator or scheme not in _REDIS:
        raise ConfigurationError(field, Withheld(url) if "@" in url else url, _ALLOWED)
    try:
        from asgi_guard.rate_limit.stores.redis import RedisStore  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            field, Withheld(url), "'memory://', until `pip install asgi-guard[redis]`"
        ) from error
    return RedisStore(url)
