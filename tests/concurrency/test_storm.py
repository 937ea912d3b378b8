"""Ten thousand random cancellations, of requests in flight and waiting, and nothing is lost."""

import asyncio
import random
from typing import Any

import pytest

from asgi_guard import ConcurrencyLimit, Permits
from tests.driver import Exchange, get

CANCELLATIONS = 10_000
LIMIT = 8


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run on both loops: their order of callbacks differs."""
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


class Crowd:
    """Requests that come, wait, work, and are cancelled at any moment."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.permits = Permits(LIMIT, max_waiting=40, max_wait=5.0)
        self.app = ConcurrencyLimit(self.permits)(self._work)
        self.inside = self.most_inside = self.cancelled_inside = self.cancelled_waiting = 0
        self.running: dict[asyncio.Task[Exchange], Exchange] = {}

    async def _work(self, scope: Any, receive: Any, send: Any) -> None:
        scope["entered"] = True
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(self.random.randrange(3)):
                await asyncio.sleep(0)
        finally:
            self.inside -= 1
        await send({"type": "http.response.body", "body": b"done"})
        await asyncio.sleep(0)  # as a background task does, without a permit

    def come(self) -> None:
        """Send a request."""
        exchange = get()
        self.running[asyncio.create_task(exchange.run(self.app))] = exchange

    def cancel_one(self) -> bool:
        """Cancel any request that has not ended; say whether there was one."""
        open_tasks = [task for task in self.running if not task.done()]
        if not open_tasks:
            return False
        task = self.random.choice(open_tasks)
        if "entered" in self.running.pop(task).scope:
            self.cancelled_inside += 1
        else:
            self.cancelled_waiting += 1
        return task.cancel()

    def forget_ended(self) -> None:
        """Drop the requests that are over."""
        self.running = {task: request for task, request in self.running.items() if not task.done()}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(240)
async def test_nothing_is_held_and_nobody_is_stranded(seed: int) -> None:
    """Zero permits held, nobody waiting, and all permits there for the next."""
    crowd = Crowd(seed)
    cancelled = 0
    while cancelled < CANCELLATIONS:
        for _ in range(crowd.random.randrange(12)):
            crowd.come()
        if crowd.random.random() < 0.8:
            await asyncio.sleep(0)
        for _ in range(crowd.random.randrange(8)):
            cancelled += crowd.cancel_one()
        crowd.forget_ended()
    await asyncio.wait_for(asyncio.gather(*crowd.running), 30)
    now = crowd.permits.snapshot()
    assert (now.in_flight, now.waiting, now.timeout) == (0, 0, 0)
    assert crowd.most_inside == LIMIT
    assert min(crowd.cancelled_inside, crowd.cancelled_waiting) > CANCELLATIONS / 10
    assert [crowd.permits.try_acquire() for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
