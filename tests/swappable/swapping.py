"""What the tests of swaps share: apps that stay inside, and guards that differ in a limit."""

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from asgi_guard import Guard, RateLimit, Rule
from tests.driver import Exchange, get, hello

NAME = "all"


def limited(count: int, **more: Any) -> Guard:
    """Return a guard with one rule, of the same name whatever its count."""
    return Guard(rate_limit=RateLimit(Rule(f"{count}/hour", name=NAME), **more))


async def statuses(app: Any, count: int) -> list[int]:
    """Send requests one after the other."""
    return [(await get().run(app)).status for _ in range(count)]


class Lobby:
    """An app whose requests stay inside until they are let out."""

    def __init__(self) -> None:
        self.door = asyncio.Event()
        self.inside = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Stay, then greet."""
        self.inside += 1
        try:
            await self.door.wait()
        finally:
            self.inside -= 1
        await hello(scope, receive, send)

    async def enter(self, app: Any, count: int = 1) -> list[asyncio.Task[Exchange]]:
        """Begin requests, and return once they can get no further."""
        tasks = [asyncio.create_task(get().run(app)) for _ in range(count)]
        await turns()
        return tasks


async def turns(count: int = 10) -> None:
    """Let the loop go round."""
    for _ in range(count):
        await asyncio.sleep(0)


def samples(registry: CollectorRegistry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Return every sample of a registry by name and labels; none is there twice."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    text = generate_latest(registry).decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def sample(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return one of them; None where it is not there."""
    return samples(registry).get((name, tuple(sorted(labels.items()))))
