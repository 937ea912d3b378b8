"""What the tests of the examples share."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

import httpx
import pytest
from starlette.types import ASGIApp

Visit: TypeAlias = Callable[[ASGIApp], AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def visit() -> Visit:
    """Return a function that opens a client to an app: each one comes from another address."""
    number = 0

    @asynccontextmanager
    async def open_client(app: ASGIApp) -> AsyncIterator[httpx.AsyncClient]:
        nonlocal number
        number += 1
        transport = httpx.ASGITransport(app, client=(f"127.0.0.{number}", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            yield client

    return open_client


async def until_refused(client: httpx.AsyncClient, method: str, path: str) -> int:
    """Send until the answer is 429, at most twenty times; return how many came before it.

    That is the quota, or one more where a unit comes back at the very moment.
    """
    for admitted in range(20):
        if (await client.request(method, path)).status_code == 429:
            return admitted
    return 20
