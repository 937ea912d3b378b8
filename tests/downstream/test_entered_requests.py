"""Requests of aiohttp under a breaker's decorator: awaited, entered, and made tasks of."""

import asyncio

import aiohttp
import pytest

from asgi_guard.testing import FakeClock
from tests.downstream.conftest import breaker, counts
from tests.downstream.moody import Moody


async def test_a_request_is_awaited_or_entered(clock: FakeClock, moody: Moody) -> None:
    """As without the breaker; what ends the block is the outcome."""
    shop = breaker(clock)
    work = moody.work()
    async with aiohttp.ClientSession() as session:
        get = shop(session.get)
        async with get(work.url) as response:
            assert (response.status, bool(await response.text())) == (200, True)
        response = await get(work.url)
        await response.read()
        (await asyncio.create_task(get(work.url))).release()
        assert counts(shop) == (3, 0, 0, 0)
        with pytest.raises(aiohttp.ClientResponseError):
            async with get(moody.work(status=503).url) as response:
                response.raise_for_status()
    assert counts(shop) == (3, 1, 0, 0)
