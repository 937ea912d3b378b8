"""Asking a database through its SQLAlchemy engine."""

from collections.abc import Awaitable, Callable

from sqlalchemy import Engine, text
from sqlalchemy.orm import sessionmaker

_QUESTION = text("SELECT 1")


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
    return isinstance(check, sessionmaker) or type(check).__name__ == "async_sessionmaker"


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
