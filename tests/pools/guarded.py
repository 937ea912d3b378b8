"""A guarded app in this process, and a client of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.applications import Starlette

from asgi_guard import Check, Guard, Health, Metrics


@asynccontextmanager
async def guarded(
    engine: Engine | AsyncEngine, *, critical: bool = False, within: float = 0.5, ttl: float = 0.0
) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of an app whose guard watches an engine and asks it how it does."""
    check = Check(engine, critical=critical, timeout=within, ttl=ttl)
    guard = Guard(
        health=Health(checks={"database": check}, access=["127.0.0.1/32"]),
        metrics=Metrics(registry=CollectorRegistry()),
        pools={"main": engine},
    )
    transport = httpx.ASGITransport(guard(Starlette()))  # it says that the client is 127.0.0.1
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client
