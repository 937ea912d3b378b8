"""The app that is scraped: every part of the guard that has metrics, and an app's own metric."""

import os
from contextlib import suppress

from fastapi import FastAPI
from prometheus_client import Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from asgi_guard import CircuitBreaker, ConcurrencyLimit, Guard, Health, Metrics, RateLimit, Rule

QUOTA = 3

engine = create_async_engine(os.environ["SHOP_DATABASE"], pool_size=4, max_overflow=1)
payments = CircuitBreaker("payments", consecutive_failures=1, open_for=600)
orders = Counter("shop_orders", "Orders taken by the app itself.")
held: list[AsyncConnection] = []

unguarded = FastAPI()


@unguarded.get("/items/{item}")
async def _item(item: int) -> int:
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    orders.inc()
    return item


@unguarded.post("/hold")
async def _hold() -> None:
    held.append(await engine.connect())


@unguarded.post("/pay")
async def _pay() -> None:
    with suppress(OSError):
        async with payments:
            raise OSError


guard = Guard(
    health=Health(),
    metrics=Metrics(),
    rate_limit=RateLimit(Rule(f"{QUOTA}/hour", name="items", path="/items/{item}")),
    concurrency=ConcurrencyLimit(8),
    breakers=[payments],
    pools={"main": engine},
)
app = guard(unguarded)
