"""A websockets server to be killed: it does what the path of a handshake says, and counts dials.

python -m tests.downstream.socket_server PORT
"""

import asyncio
import sys
import time
from collections import Counter

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from tests.processes import HOST

_dials: Counter[str] = Counter()
_began: list[float] = []


def look(connection: ServerConnection, request: Request) -> Response | None:
    """Count a dial; answer those that shall not become a websocket."""
    kind, _, detail = request.path.strip("/").partition("/")
    if kind == "count":
        return connection.respond(200, f"{_dials[detail]}")
    if kind == "most":  # dials of a path within any 100 ms
        most = max((sum(at <= each < at + 0.1 for each in _began) for at in _began), default=0)
        return connection.respond(200, f"{most}")
    _dials[kind] += 1
    _began.append(time.monotonic())
    if kind == "status":
        status, _, wait = detail.partition("/")
        response = connection.respond(int(status), "no")
        if wait:
            response.headers["Retry-After"] = wait
        return response
    return None


async def talk(connection: ServerConnection) -> None:
    """Echo, drop or close, as the path says."""
    assert connection.request is not None
    kind, _, detail = connection.request.path.strip("/").partition("/")
    if kind == "drop":
        connection.transport.abort()
    elif kind == "close":
        await connection.close(int(detail))
    else:
        async for message in connection:
            await connection.send(message)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(talk, HOST, port, process_request=look) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
