"""Asking a database through its SQLAlchemy engine."""

from collections.abc import Awaitable, Callable
from typing import TypeGuard

from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

_QUESTION = text("SELECT 1")


def is_engine(engine: object) -> TypeGuard[Engine | AsyncEngine]:
    """Tell whether this is an engine, sync or async."""
    return isinstance(engine, Engine | AsyncEngine)


def ping(engine: Engine | AsyncEngine) -> Callable[[], Awaitable[object] | object]:
    """Return a function that asks the database, async for an async engine."""

    async def ping_async() -> None:
        async with engine.connect() as connection:  # type: ignore[union-attr]
            await connection.execute(_QUESTION)

    def ping_sync() -> None:
        with engine.connect() as connection:  # type: ignore[union-attr]
            connection.execute(_QUESTION)

    return ping_async if isinstance(engine, AsyncEngine) else ping_sync
