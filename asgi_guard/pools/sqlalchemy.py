"""Watching the pool of a SQLAlchemy engine, sync or async.

Connections are counted from the pool's own records, which stay right where the pool's methods do
not (after `dispose()`, `invalidate()` and `detach()`). SQLAlchemy tells nobody that a caller waits,
so `connect`, the one public method every acquire goes through, is wrapped on the pool.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from asgi_guard.errors import ConfigurationError, Withheld
from asgi_guard.pools.snapshot import PoolSnapshot

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


def sync_engine(field: str, engine: object) -> Engine:
    """Return the sync engine that an engine is or stands on.

    Raises:
        ConfigurationError: It is no engine.
    """
    # Not by its type: the async part of SQLAlchemy cannot be imported without greenlet.
    engine = getattr(engine, "sync_engine", engine)
    if isinstance(engine, Engine):
        return engine
    raise ConfigurationError(
        field,
        Withheld(engine),
        "an Engine or AsyncEngine of SQLAlchemy, as made by create_async_engine()",
    )


def watch_engine(engine: "Engine | AsyncEngine") -> "PoolWatch":
    """Watch an engine's pool from now on; watching it again returns the same watch."""
    watched = sync_engine("watch_engine.engine", engine)
    with _lock:
        known = _watches.get(watched)
        watch = None if known is None else known()
        if watch is None:
            watch = PoolWatch(watched)
            _watches[watched] = ref(watch)  # the engine's listeners keep it, and it the engine
        return watch


class PoolWatch:
    """Counts the connections of one engine, whichever pool it has at the moment."""

    def __init__(self, engine: Engine) -> None:
        self._lock = threading.Lock()
        self._entries: WeakSet[ConnectionPoolEntry] = WeakSet()
        self._waiters = 0
        self._timeouts = 0
        self._pool = engine.pool
        event.listen(engine, "connect", self._seen)
        event.listen(engine, "checkout", self._seen)
        event.listen(engine, "engine_disposed", self._disposed)
        self._wrap(engine.pool)

    def snapshot(self) -> PoolSnapshot:
        """Return the state of this moment."""
        with self._lock:
            entries = [entry for entry in self._entries if entry.dbapi_connection is not None]
        size = _size(self._pool)
        overflow: int | None = getattr(self._pool, "_max_overflow", None)  # it has no accessor
        unlimited = size is None or overflow is None or overflow < 0
        return PoolSnapshot(
            open=len(entries),
            used=sum(entry.in_use for entry in entries),
            limit=None if unlimited else (size or 0) + (overflow or 0),
            size=size,
            waiters=self._waiters,
            timeouts=self._timeouts,
        )

    def _seen(self, _: object, entry: ConnectionPoolEntry, *__: object) -> None:
        with self._lock:
            self._entries.add(entry)

    def _disposed(self, engine: Engine) -> None:
        self._pool = engine.pool
        self._wrap(engine.pool)

    def _wrap(self, pool: Pool) -> None:
        connect: Callable[[], PoolProxiedConnection] = pool.connect

        def watched_connect() -> PoolProxiedConnection:
            with self._lock:
                self._waiters += 1
            try:
                return connect()
            except PoolTimeoutError:
                with self._lock:
                    self._timeouts += 1
                raise
            finally:
                with self._lock:
                    self._waiters -= 1

        pool.connect = watched_connect  # type: ignore[method-assign]


_lock = threading.Lock()
_watches: WeakKeyDictionary[Engine, ref[PoolWatch]] = WeakKeyDictionary()


def _size(pool: Any) -> int | None:
    size = getattr(pool, "size", None)  # a method, a number (SingletonThreadPool), or missing
    return size() if callable(size) else size
