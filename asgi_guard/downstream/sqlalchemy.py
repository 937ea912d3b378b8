"""Engines of SQLAlchemy, sync and async, that put connecting and every statement through a breaker.

What is not a statement (a commit, the reading of rows) has no end that SQLAlchemy tells anybody of:
it counts when it fails, and the connection with it. A caller who would wait for the pool while the
breaker refuses is refused before it waits; nothing tells of that moment, so `connect`, the one
public method every acquire goes through, is wrapped on the pool.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.downstream.checks import check_breaker
from asgi_guard.pools.sqlalchemy import sync_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

# SQLSTATE: connection exceptions, insufficient resources, and the operator who shuts it down.
_AMISS = ("08", "53", "57P")


def guard_engine(engine: "Engine | AsyncEngine", breaker: CircuitBreaker) -> Callable[[], None]:
    """Put what an engine asks of its database through a breaker, from now on.

    Args:
        engine: The engine.
        breaker: The breaker; one for each database.

    Returns:
        What to call to leave the engine alone again.

    Raises:
        ConfigurationError: The engine or the breaker is none.
    """
    check_breaker("guard_engine.breaker", breaker)
    guard = _EngineGuard(sync_engine("guard_engine.engine", engine), breaker)
    return guard.detach


class _EngineGuard:
    def __init__(self, engine: Engine, breaker: CircuitBreaker) -> None:
        self._engine = engine
        self._breaker = breaker
        self._detached = False
        # A connection executes one statement at a time.
        self._statements: WeakKeyDictionary[Connection, list[Attempt]] = WeakKeyDictionary()
        self._listeners: dict[str, Callable[..., object]] = {
            "do_connect": self._connect,
            "before_cursor_execute": self._before,
            "after_cursor_execute": self._after,
            "handle_error": self._error,
            "engine_disposed": self._disposed,
        }
        for name, listener in self._listeners.items():
            event.listen(engine, name, listener)
        self._wrap(engine.pool)

    def detach(self) -> None:
        if not self._detached:
            self._detached = True
            for name, listener in self._listeners.items():
                event.remove(self._engine, name, listener)

    def _connect(
        self,
        dialect: Dialect,
        entry: ConnectionPoolEntry,
        arguments: list[Any],
        parameters: dict[str, Any],
    ) -> DBAPIConnection:
        attempt = self._breaker.attempt()
        try:
            connection = self._made(dialect, entry, arguments, parameters)
        except BaseException as error:
            if _has_answered(error):
                attempt.success()
            else:
                attempt.end(error)
            raise
        attempt.success()
        return connection

    def _made(
        self,
        dialect: Dialect,
        entry: ConnectionPoolEntry,
        arguments: list[Any],
        parameters: dict[str, Any],
    ) -> DBAPIConnection:
        # Whoever returns a connection is the last to be asked: those after us are ours to ask.
        listeners: list[Callable[..., DBAPIConnection | None]] = list(dialect.dispatch.do_connect)
        for listener in listeners[listeners.index(self._connect) + 1 :]:
            made = listener(dialect, entry, arguments, parameters)
            if made is not None:
                return made
        return dialect.connect(*arguments, **parameters)

    def _before(self, connection: Connection, *_: object) -> None:
        attempt = self._breaker.attempt()
        self._statements.setdefault(connection, []).append(attempt)

    def _after(self, connection: Connection, *_: object) -> None:
        attempt = self._ended(connection)
        if attempt is not None:
            attempt.success()

    def _ended(self, connection: Connection) -> Attempt | None:
        """Return the attempt of the statement that ends: the last to begin, where they nest."""
        begun = self._statements.get(connection, [])
        attempt = begun.pop() if begun else None
        if not begun:
            self._statements.pop(connection, None)
        return attempt

    def _error(self, context: ExceptionContext) -> None:
        # What `_before` raises comes by here as well: it has no attempt, and says nothing.
        if context.connection is None:
            return  # it was connecting, which `_connect` sees; or a ping, and it connects next
        attempt = self._ended(context.connection)
        error = context.original_exception
        if _is_amiss(context):
            attempt = self._breaker.try_acquire() if attempt is None else attempt
            if attempt is not None:
                attempt.end(error)
        elif attempt is not None:
            if isinstance(error, _database_errors(context)):
                attempt.success()
            else:
                attempt.ignore()  # the caller gave up, or its own code raised

    def _disposed(self, engine: Engine) -> None:
        self._wrap(engine.pool)

    def _wrap(self, pool: Pool) -> None:
        connect: Callable[[], PoolProxiedConnection] = pool.connect

        def connect_unless_refused() -> PoolProxiedConnection:
            if not self._detached and self._breaker.retry_after != 0:
                self._breaker.attempt().ignore()
            return connect()

        pool.connect = connect_unless_refused  # type: ignore[method-assign]


def _is_amiss(context: ExceptionContext) -> bool:
    error = context.original_exception
    if not isinstance(error, Exception):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    code = _sqlstate(error)
    return context.is_disconnect if code is None else code.startswith(_AMISS)


def _has_answered(error: BaseException) -> bool:
    code = _sqlstate(error)
    return code is not None and not code.startswith(_AMISS)


def _sqlstate(error: BaseException) -> str | None:
    for name in ("sqlstate", "pgcode"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    return None


def _database_errors(context: ExceptionContext) -> type[Exception]:
    errors: type[Exception] = context.dialect.loaded_dbapi.Error
    return errors
