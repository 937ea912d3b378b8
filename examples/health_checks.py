"""Health: liveness, readiness, and a report that strangers see only the status of.

uvicorn examples.health_checks:app    and then    curl localhost:8000/health
"""

from pathlib import Path
from shutil import disk_usage

from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_guard import Check, Health

engine = create_async_engine("sqlite+aiosqlite:///file::memory:?uri=true")
warmed_up = False


async def is_warm() -> bool:
    """Say whether this instance is ready; until then it should get no traffic."""
    return warmed_up


def has_room() -> bool:
    """Say whether there is room for a gigabyte; a plain function is run in a thread."""
    return disk_usage(Path.cwd()).free > 10**9


async def warm_up(_: Request) -> PlainTextResponse:
    """Make ready."""
    global warmed_up  # noqa: PLW0603 - an example's state
    warmed_up = True
    return PlainTextResponse("ready")


health = Health(
    checks={
        "database": engine,  # asked for SELECT 1; it can only warn, as it is not critical
        "disk": Check(has_room, ttl=60.0),
        "warm": Check(is_warm, critical=True, ttl=0.0),  # while it fails, /readyz is 503
    },
    access=["127.0.0.0/8", "::1/128"],
)
app = health(Starlette(routes=[Route("/warm-up", warm_up, methods=["POST"])]))
