"""A dashboard that goes on showing what it last knew, and says since when, while stock is down.

uvicorn examples.dashboard:app    and then    curl localhost:8000/    curl localhost:8000/?down
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from asgi_guard import CircuitBreaker, Downstream, Guard, Health, Priority

stock = Downstream(
    "stock",
    breaker=CircuitBreaker("stock", consecutive_failures=3, open_for=5.0),
    min_interval=0.01,
    timeout=2.0,
    fallback_on="failure",  # stale numbers also for calls that fail before the breaker opens
)


async def count(item: str, *, down: bool) -> int:
    """Stand for an HTTP call to something else that may be down."""
    if down:
        raise ConnectionError("it does not answer")
    return len(item)


async def dashboard(request: Request) -> JSONResponse:
    """Show the number, and how old it is where it is not of this moment."""
    down = "down" in request.query_params
    answer = await stock.fetch("bolt", count, "bolt", down=down, priority=Priority.LOW)
    if not answer.is_stale:
        return JSONResponse({"bolts": answer.value})
    return JSONResponse(
        {
            "bolts": answer.value,
            "stale_since_seconds": round(answer.age or 0.0, 1),
            "because": type(answer.error).__name__,
        }
    )


guard = Guard(health=Health(), downstreams=[stock])
app = guard(Starlette(routes=[Route("/", dashboard)]))
