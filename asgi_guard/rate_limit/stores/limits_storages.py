"""Opening storages of `limits`, and closing them, which they cannot do themselves."""

import asyncio
import inspect
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import limits.storage
from limits.aio.storage import Storage
from limits.storage import storage_from_string

from asgi_guard.errors import ConfigurationError, Withheld

_TARGETS = (
    "a URL that `limits` knows with 'async+' before it, and with host and port, such as "
    "'async+memcached://localhost:11211', or a storage of limits.aio.storage"
)
_CLIENTS = {  # by scheme: the modules of which one is needed, and what brings one
    "memcached": (("memcachio",), "asgi-guard[memcached]"),
    "mongodb": (("motor",), "'limits[async-mongodb]'"),
    "redis": (("redis", "coredis"), "asgi-guard[redis]"),
    "rediss": (("redis", "coredis"), "asgi-guard[redis]"),
    "valkey": (("valkey",), "'limits[async-valkey]'"),
    "valkeys": (("valkey",), "'limits[async-valkey]'"),
}


def storage_opener(target: object) -> Callable[[], Storage]:
    """Return what opens a storage for one event loop, without connecting.

    Args:
        target: A URL with a scheme that begins with `async+`, or a storage, which is returned.

    Raises:
        ConfigurationError: It is neither, or its client is not installed.
    """
    if isinstance(target, Storage):
        return lambda: target
    if isinstance(target, limits.storage.Storage):
        scheme = (target.STORAGE_SCHEME or ["memory"])[0]
        raise ConfigurationError(
            "LimitsStore.target",
            target,
            f"{_TARGETS}; here 'async+{scheme}://', which does not block",
        )
    if not isinstance(target, str):
        raise ConfigurationError("LimitsStore.target", target, _TARGETS)
    scheme = target.partition("://")[0]
    if not scheme.startswith("async+"):
        raise ConfigurationError("LimitsStore.target", Withheld(target), _TARGETS)
    options = _options(scheme)
    return lambda: _from_url(target, options)


def _options(scheme: str) -> dict[str, Any]:
    """Choose among clients, and refuse where there is none."""
    server = scheme.split("+")[1]
    modules, remedy = _CLIENTS.get(server, ((), ""))
    found = [module for module in modules if find_spec(module)]
    if modules and not found:
        raise ConfigurationError(
            "LimitsStore.target", f"{scheme}://", f"this, after `pip install {remedy}`"
        )
    # Of the two clients for Redis, limits prefers coredis, also where it is not installed.
    return {"implementation": "redispy"} if found[:1] == ["redis"] else {}


def _from_url(url: str, options: dict[str, Any]) -> Storage:
    try:
        storage = storage_from_string(url, **options)
    except Exception:  # noqa: BLE001 - what clients think of a URL; without its cause, which may quote it
        raise ConfigurationError("LimitsStore.target", Withheld(url), _TARGETS) from None
    if not isinstance(storage, Storage):
        raise ConfigurationError("LimitsStore.target", Withheld(url), _TARGETS)
    return storage


async def close_storage(storage: Storage) -> None:
    """Close what a storage has open: its clients, and the sweep of the one in memory."""
    sweep = getattr(storage, "timer", None)
    if isinstance(sweep, asyncio.Task) and not sweep.done():
        sweep.cancel()
        await asyncio.wait([sweep])
    for client in await _clients(storage):
        await _close(client)
    await asyncio.sleep(0)  # transports say goodbye when the loop turns


async def _clients(storage: Any) -> list[Any]:
    holder = getattr(storage, "bridge", storage)
    if hasattr(holder, "get_storage"):  # of memcached, where it is made when it is first asked for
        return [await holder.get_storage()]
    sentinels = getattr(getattr(holder, "sentinel", None), "sentinels", ())
    return [*(getattr(holder, name, None) for name in ("storage", "storage_replica")), *sentinels]


async def _close(client: Any) -> None:
    pool = getattr(client, "connection_pool", None)
    for holder, name in (
        (client, "aclose"),
        (client, "close"),
        (pool, "close"),
        (pool, "disconnect"),
    ):
        close = getattr(holder, name, None)
        if callable(close):
            closing = close()
            if inspect.isawaitable(closing):
                await closing
            return
