"""Request metrics and the numbers of a database pool, for Prometheus.

uvicorn examples.metrics_and_pools:app    and then    curl localhost:8000/metrics
"""

from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_guard import Guard, Metrics

registry = CollectorRegistry()  # left out, it is the one of prometheus-client
greetings = Counter("greetings", "A metric of the app's own, answered as well.", registry=registry)

engine = create_async_engine(
    "sqlite+aiosqlite:///file::memory:?uri=true", pool_size=3, max_overflow=2
)


async def greet(request: Request) -> PlainTextResponse:
    """Hold a connection of the pool while asking for a greeting."""
    async with engine.connect() as connection:
        name = request.path_params["name"]
        greeting = await connection.scalar(text("SELECT 'hello ' || :name"), {"name": name})
    greetings.inc()
    return PlainTextResponse(str(greeting))


# To who may scrape, /metrics answers; labels are route templates, so no client can invent one.
guard = Guard(
    metrics=Metrics(registry=registry, access=["127.0.0.0/8", "::1/128"]),
    pools={"main": engine},
)
app = guard(Starlette(routes=[Route("/greet/{name}", greet)]))
