"""Engines of SQLAlchemy, sync and async, that put connecting and every statement through a breaker.

What is not a statement (a commit, the reading of rows) has no end that SQLAlchemy tells anybody of:
it counts when it fails, and the connection with it. A caller who would wait for the pool while the
breaker refuses is refused before it waits; nothing tells of that moment, so `connect`, the one
public method every acquire goes through, is wrapped on the pool.
"""

import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet, ref

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import Dialect, ExceptionContext, ExecutionContext
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
_EXECUTES = ("do_execute", "do_executemany", "do_execute_no_params")


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
        # SQLAlchemy asks some of its own when it connects, of which `before_cursor_execute` is not
        # told: no calls. Of errors `handle_error` is not always told: those of statements are seen
        # where these are executed.
        self._begun: WeakSet[ExecutionContext] = WeakSet()
        self._failed: WeakSet[ExecutionContext] = WeakSet()
        self._listeners: dict[str, Callable[..., object]] = {
            "do_connect": self._connect,
            "before_cursor_execute": self._before,
            **{name: partial(self._execute, name) for name in _EXECUTES},
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
        for listener in self._others("do_connect"):
            made: DBAPIConnection | None = listener(dialect, entry, arguments, parameters)
            if made is not None:
                return made
        return dialect.connect(*arguments, **parameters)

    def _others(self, name: str) -> list[Callable[..., Any]]:
        """Return who listens after us: the last to be asked is who does it, and asks them."""
        listeners = list(getattr(self._engine.dialect.dispatch, name))
        return listeners[listeners.index(self._listeners[name]) + 1 :]

    def _before(self, *said: Any) -> None:
        self._begun.add(said[4])

    def _execute(self, name: str, *said: Any) -> bool:
        context: ExecutionContext = said[-1]
        if context not in self._begun:
            return False
        self._begun.discard(context)
        attempt = self.breaker.attempt()
        try:
            if not any(listener(*said) for listener in self._others(name)):
                getattr(self._engine.dialect, name)(*said)
        except BaseException as error:
            self._failed.add(context)
            _end_statement(attempt, error, context)
            raise
        attempt.success()
        return True

    def _error(self, context: ExceptionContext) -> None:
        if context.connection is None:
            return  # it was connecting, which `_connect` sees; or a ping, and it connects next
        if context.execution_context in self._failed:
            return  # a statement, which `_execute` has seen
        error = context.original_exception
        if _is_amiss(error, is_lost=context.is_disconnect):
            attempt = self.breaker.try_acquire()
            if attempt is not None:
                attempt.end(error)

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


def _end_statement(attempt: Attempt, error: BaseException, context: ExecutionContext) -> None:
    is_of_database = isinstance(error, context.dialect.loaded_dbapi.Error)
    if _is_amiss(error, is_lost=is_of_database and _is_disconnect(error, context)):
        attempt.end(error)
    elif is_of_database:
        attempt.success()
    else:
        attempt.ignore()  # the caller gave up, or its own code raised


def _is_disconnect(error: Any, context: ExecutionContext) -> bool:
    root: Connection = context.root_connection
    connection = None if root.invalidated else root.connection
    lost: bool = context.dialect.is_disconnect(error, connection, context.cursor)
    return lost


def _is_amiss(error: BaseException, *, is_lost: bool) -> bool:
    if not isinstance(error, Exception):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    code = _sqlstate(error)
    return is_lost if code is None else code.startswith(_AMISS)


def _has_answered(error: BaseException) -> bool:
    code = _sqlstate(error)
    return code is not None and not code.startswith(_AMISS)


def _sqlstate(error: BaseException) -> str | None:
    for name in ("sqlstate", "pgcode"):
        code = getattr(error, name, None)
        if isinstance(code, str):
            return code
    return None
