"""Asking a database through its SQLAlchemy engine."""

from collections.abc import Awaitable, Callable

from sqlalchemy import Engine, text
from sqlalchemy.orm import scoped_session, sessionmaker

_QUESTION = text("SELECT 1")
_MAKERS = {"async_scoped_session", "async_sessionmaker"}  # they cannot be imported without greenlet


def ping(engine: object) -> Callable[[], Awaitable[object] | object] | None:
    """Return a function that asks the database, async for an async engine; None for no engine."""
    # Not by its type: the async part of SQLAlchemy cannot be imported without greenlet.
    if isinstance(engine, Engine):
        return _ping(engine)
    if isinstance(getattr(engine, "sync_engine", None), Engine):
        return _ping_async(engine)
    return None


def is_session_maker(check: object) -> bool:
    """Tell whether this makes sessions: it can be called, and asks the database nothing."""
    return isinstance(check, sessionmaker | scoped_session) or type(check).__name__ in _MAKERS


def _ping(engine: Engine) -> Callable[[], object]:
    def ping_sync() -> None:
        with engine.connect() as connection:
            connection.execute(_QUESTION)

    return ping_sync


def _ping_async(engine: object) -> Callable[[], Awaitable[object]]:
    async def ping_async() -> None:
        async with engine.connect() as connection:  # type: ignore[attr-defined]
            await connection.execute(_QUESTION)

    return ping_async
