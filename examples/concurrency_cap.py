"""A concurrency cap round any ASGI app, and permits where there is no request.

uvicorn examples.concurrency_cap:app
python -m examples.concurrency_cap
"""

import asyncio

from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from asgi_guard import ConcurrencyExceeded, ConcurrencyLimit, Permits


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request after a while; an ASGI app without any framework."""
    if scope["type"] == "http":
        await asyncio.sleep(0.2)
        await PlainTextResponse("done")(scope, receive, send)


# Two at once and two in the queue; whoever comes fifth gets 503 with Retry-After.
app = ConcurrencyLimit(2, max_waiting=2, max_wait=1.0)(slow)


async def convert(document: int, permits: Permits) -> str:
    """Do one piece of work, unless too many are at it already."""
    try:
        async with permits:
            await asyncio.sleep(0.2)
            return f"document {document}: converted"
    except ConcurrencyExceeded as refused:
        return f"document {document}: refused ({refused})"


async def main() -> list[str]:
    """Convert six documents with two permits and a queue of two."""
    permits = Permits(2, max_waiting=2)
    return await asyncio.gather(*(convert(document, permits) for document in range(6)))


if __name__ == "__main__":
    print(*asyncio.run(main()), sep="\n")
