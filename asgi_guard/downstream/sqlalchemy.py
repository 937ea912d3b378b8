"""Engines of SQLAlchemy, sync and async, that put connecting and every statement through a breaker.

What is not a statement (a commit, the reading of rows) has no end that SQLAlchemy tells anybody of:
it counts when it fails, and the connection with it. A caller who would wait for the pool while the
breaker refuses is refused before it waits; nothing tells of that moment, so `connect`, the one
public method every acquire goes through, is wrapped on the pool.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import Dialect, ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.downstream.checks import check_breaker
from asgi_guard.errors import ConfigurationError
from asgi_guard.pools.sqlalchemy import sync_engine

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

# SQLSTATE: connection exceptions, insufficient resources, and the operator who shuts it down.
_AMISS = ("08", "53", "57P")


def guard_engine(engine: "Engine | AsyncEngine", breaker: CircuitBreaker) -> Callable[[], None]:
    """Put what an engine asks of its database through a breaker, from now on.

    To guard it again with the same breaker changes nothing.

    Args:
        engine: The engine.
        breaker: The breaker; one for each database.

    Returns:
        What to call to leave the engine alone again.

    Raises:
        ConfigurationError: The engine or the breaker is none, or another breaker guards the engine.
    """
    check_breaker("guard_engine.breaker", breaker)
    guarded = sync_engine("guard_engine.engine", engine)
    with _lock:
        known = _guards.get(guarded)
        guard = None if known is None else known()
        if guard is None:
            guard = _EngineGuard(guarded, breaker)
            _guards[guarded] = ref(guard)  # the engine's listeners keep it, and it the engine
        elif guard.breaker is not breaker:
            raise ConfigurationError(
                "guard_engine.breaker",
                breaker,
                f"the one that guards this engine already ({guard.breaker.name}), or to be given "
                "after what guard_engine returned then was called",
            )
        return guard.detach


class _EngineGuard:
    def __init__(self, engine: Engine, breaker: CircuitBreaker) -> None:
        self._engine = engine
        self.breaker = breaker
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
        _door_of(engine.pool).enter(self.breaker)

    def detach(self) -> None:
        with _lock:
            if self._detached:
                return
            self._detached = True
            del _guards[self._engine]
            for name, listener in self._listeners.items():
                event.remove(self._engine, name, listener)
            _door_of(self._engine.pool).leave(self.breaker)

    def _connect(
        self,
        dialect: Dialect,
        entry: ConnectionPoolEntry,
        arguments: list[Any],
        parameters: dict[str, Any],
    ) -> DBAPIConnection:
        attempt = self.breaker.attempt()
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
        attempt = self.breaker.attempt()
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
            attempt = self.breaker.try_acquire() if attempt is None else attempt
            if attempt is not None:
                attempt.end(error)
        elif attempt is not None:
            if isinstance(error, _database_errors(context)):
                attempt.success()
            else:
                attempt.ignore()  # the caller gave up, or its own code raised

    def _disposed(self, engine: Engine) -> None:
        _door_of(engine.pool).enter(self.breaker)


class _Door:
    # The way to a pool, which is one however often engines are guarded: others may have put
    # something round it, and then it stays where it is.
    def __init__(self, pool: Pool) -> None:
        self._pool = ref(pool)
        self._before: Callable[[], PoolProxiedConnection] | None = vars(pool).get("connect")
        self._connect: Callable[[], PoolProxiedConnection] = pool.connect
        self._breakers: list[CircuitBreaker] = []
        pool.connect = self  # type: ignore[method-assign]

    def __call__(self) -> PoolProxiedConnection:
        for breaker in self._breakers:
            if breaker.retry_after != 0:
                breaker.attempt().ignore()
        return self._connect()

    def enter(self, breaker: CircuitBreaker) -> None:
        self._breakers = [*self._breakers, breaker]

    def leave(self, breaker: CircuitBreaker) -> None:
        left = list(self._breakers)
        left.remove(breaker)
        self._breakers = left
        pool = self._pool()
        if pool is None or left or vars(pool).get("connect") is not self:
            return
        del _doors[pool]
        if self._before is None:
            del pool.connect
        else:
            pool.connect = self._before  # type: ignore[method-assign]


_lock = threading.RLock()
_guards: WeakKeyDictionary[Engine, ref[_EngineGuard]] = WeakKeyDictionary()
_doors: WeakKeyDictionary[Pool, ref[_Door]] = WeakKeyDictionary()  # the pools hold them


def _door_of(pool: Pool) -> _Door:
    known = _doors.get(pool)
    door = None if known is None else known()
    if door is None:
        door = _Door(pool)
        _doors[pool] = ref(door)
    return door


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
