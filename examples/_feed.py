"""A feed of prices for `examples.websocket_client`, to be stopped and started again.

uvicorn examples._feed:app --port 8001
"""

import asyncio
import time
from contextlib import suppress

from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect


async def quote(socket: WebSocket) -> None:
    """Send a price ten times a second."""
    await socket.accept()
    with suppress(WebSocketDisconnect):
        while True:
            await socket.send_text(str(time.time() % 100))
            await asyncio.sleep(0.1)


app = Starlette(routes=[WebSocketRoute("/", quote)])
