"""The guarded app of the demo: a database, a downstream, and one `Guard` round it all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from prometheus_client import CollectorRegistry
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from asgi_guard import CircuitBreaker, ConcurrencyLimit, Guard, Health, Metrics, RateLimit, Rule


def create_app(database_url: str, payments_url: str) -> FastAPI:
    """Make the app, with a database and a downstream of its own."""
    engine = create_async_engine(database_url, pool_size=3, max_overflow=2)
    client = httpx.AsyncClient(base_url=payments_url, trust_env=False)
    payments = CircuitBreaker("payments", consecutive_failures=3, open_for=2.0)

    guard = Guard(
        health=Health(checks={"database": engine}, access=["127.0.0.0/8", "::1/128"]),
        metrics=Metrics(registry=CollectorRegistry()),
        pools={"main": engine},
        rate_limit=RateLimit(
            "600/minute",  # every client, every path
            Rule("5/3 seconds", name="login", path="/login", methods={"POST"}),
        ),
        concurrency=ConcurrencyLimit(8, max_waiting=8, max_wait=2.0),
        breakers=[payments],
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()
        await engine.dispose()

    app = FastAPI(title="asgi_guard demo", lifespan=lifespan)
    app.add_middleware(guard)

    @app.post("/login")
    async def login() -> dict[str, str]:
        return {"message": "welcome"}

    @app.get("/report")
    async def report() -> dict[str, str]:
        async with engine.connect() as connection:
            version = await connection.scalar(text("SELECT sqlite_version()"))
            await asyncio.sleep(0.6)  # a slow report holds its connection
        return {"sqlite": str(version)}

    @app.post("/pay")
    async def pay() -> dict[str, str]:
        async with payments:
            response = await client.post("/charge")
            response.raise_for_status()
        return {"message": "paid"}

    @app.exception_handler(httpx.HTTPError)
    async def bad_gateway(_: Request, __: Exception) -> JSONResponse:
        return JSONResponse({"detail": "payments did not do its part"}, 502)

    return app
