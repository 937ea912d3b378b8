"""Circuit breakers: as a block, as a decorator, and what the client of an ASGI app sees.

uvicorn examples.breaker:app    and then, four times    curl -i localhost:8000/pay?down
"""

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from asgi_guard import Breakers, CircuitBreaker

payments = CircuitBreaker("payments", consecutive_failures=3, open_for=5.0)
stock = CircuitBreaker("stock", consecutive_failures=3, open_for=5.0)


async def call(*, down: bool) -> str:
    """Stand for an HTTP call to something else that may be down."""
    if down:
        raise ConnectionError("it does not answer")
    return "done"


async def pay(*, down: bool) -> str:
    """Guard a block: `CircuitOpen` is raised here while the circuit is open."""
    async with payments:
        return await call(down=down)


@stock
async def reserve(*, down: bool) -> str:
    """Guard every call of a function."""
    return await call(down=down)


async def shop(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 502 when a call fails; what a breaker refuses is left to the guard at the edge."""
    if scope["type"] == "http":
        request = Request(scope)
        act = pay if request.url.path == "/pay" else reserve
        try:
            response = PlainTextResponse(await act(down="down" in request.query_params))
        except ConnectionError as error:
            response = PlainTextResponse(str(error), 502)
        await response(scope, receive, send)


app = Breakers([payments, stock])(shop)
