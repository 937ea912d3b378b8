"""A rate limit on one Starlette route: a guard is called with an app, as middleware is.

uvicorn examples.rate_limit_one_route:app
"""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_guard import RateLimit


async def index(_: Request) -> PlainTextResponse:
    """Answer everybody, as often as they like."""
    return PlainTextResponse("hello")


async def login(_: Request) -> PlainTextResponse:
    """Answer each address five times a minute; the sixth time it gets 429."""
    return PlainTextResponse("welcome")


app = Starlette(
    routes=[
        Route("/", index),
        Route("/login", login, methods=["POST"], middleware=[Middleware(RateLimit("5/minute"))]),
    ]
)
