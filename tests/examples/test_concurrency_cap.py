"""Two pass, two wait, the others are refused: with requests, and without."""

import asyncio

from examples.concurrency_cap import app, main
from tests.examples.conftest import Visit


async def test_whoever_comes_fifth_is_refused(visit: Visit) -> None:
    """Two at once and two in the queue, so two of six find no room."""
    async with visit(app) as client:
        answers = await asyncio.gather(*(client.get("/") for _ in range(6)))
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses) == [200] * 4 + [503] * 2
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)


async def test_permits_need_no_request() -> None:
    """The same permits, taken by plain tasks."""
    lines = await main()
    assert [line.rpartition(": ")[2] for line in lines[:4]] == ["converted"] * 4
    assert all("refused" in line for line in lines[4:])
    assert len(lines) == 6
