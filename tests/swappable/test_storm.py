"""Storms of requests and swaps: nothing is held at the end, and every unit is counted once."""

import asyncio
import random
from typing import Any

import pytest

from asgi_guard import ConcurrencyLimit, Guard, Health, RateLimit, Rule, Swappable
from tests.driver import Exchange, get

QUOTA = 500
SWAPS = 400


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Run on both loops: their order of callbacks differs."""
    return ("asyncio", {"use_uvloop": request.param == "uvloop"})


class Storm:
    """Requests that come, wait, work and are cancelled, while the guard is swapped."""

    def __init__(self, seed: int, quota: int = QUOTA) -> None:
        self.chance = random.Random(seed)
        self.quota = quota
        self.inside = self.most_inside = 0
        self.tasks: list[asyncio.Task[Exchange]] = []
        self.swappable = Swappable(self.guard())
        self.app = self.swappable(self._work)

    def guard(self, cap: int | None = None) -> Guard:
        """Return a guard of the same quota; all else is by chance."""
        cap = cap or self.chance.randrange(1, 9)
        limit = ConcurrencyLimit(cap, max_waiting=self.chance.choice([100, 1000]), max_wait=60.0)
        rules = [Rule(f"{self.quota}/hour", name="all")]
        if self.chance.random() < 0.5:
            rules.append(Rule("100000/hour", name=f"more {self.chance.randrange(3)}"))
        return Guard(
            health=Health() if self.chance.random() < 0.5 else None,
            rate_limit=RateLimit(*rules),
            concurrency=limit,
        )

    async def _work(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            for _ in range(self.chance.randrange(6)):
                await asyncio.sleep(0)
        finally:
            self.inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    async def rage(self, *, cancels: bool) -> None:
        """Let everything happen at once, and wait until it is over."""
        for _ in range(SWAPS):
            for _ in range(self.chance.randrange(5)):
                self.tasks.append(asyncio.create_task(get().run(self.app)))
            if cancels and self.tasks:
                self.chance.choice(self.tasks).cancel()
            if self.chance.random() < 0.7:
                await asyncio.sleep(0)
            guard = self.guard()
            if self.chance.random() < 0.05:
                await asyncio.to_thread(self.swappable.swap, guard)
            else:
                self.swappable.swap(guard)
        await asyncio.wait(self.tasks)

    def is_empty(self) -> bool:
        """Tell whether no permit is held, and nobody waits for one."""
        (permits,) = self.app._stack._permits.values()
        now = permits.snapshot()
        return (now.in_flight, now.waiting, now.timeout, self.inside) == (0, 0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
async def test_exactly_the_quota_is_admitted(seed: int) -> None:
    """However often the guard is swapped for one of the same quota."""
    storm = Storm(seed)
    await storm.rage(cancels=False)
    answers = [task.result().status for task in storm.tasks]
    assert len(answers) > QUOTA
    assert len(answers) - answers.count(429) == QUOTA  # 503 is for who was admitted, and not let in
    assert set(answers) <= {200, 429, 503}
    assert storm.is_empty()


@pytest.mark.parametrize("seed", range(4))
async def test_no_permit_is_lost_to_cancellations(seed: int) -> None:
    """At the end there are as many as the last guard has."""
    storm = Storm(seed, quota=10**6)
    await storm.rage(cancels=True)
    assert sum(task.cancelled() for task in storm.tasks) > SWAPS / 40
    assert storm.is_empty()
    assert storm.most_inside <= 8
    storm.swappable.swap(storm.guard(cap=3))
    storm.most_inside = 0
    await asyncio.gather(*(get().run(storm.app) for _ in range(50)))
    assert storm.most_inside == 3
    assert storm.is_empty()
