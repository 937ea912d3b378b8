"""What uvicorn is told to serve: `uvicorn --factory tests.benchmarks.served.app:make`."""

import os
from collections.abc import Callable

from asgi_guard._asgi import ASGIApp
from tests.benchmarks.frames import fastapi
from tests.benchmarks.peers import of_asgi_guard
from tests.benchmarks.peers.of_slowapi import slowapi
from tests.benchmarks.peers.place import Place
from tests.benchmarks.stacks import LOOSE, Stack

NAME = "ASGI_GUARD_SERVED"
URL = "ASGI_GUARD_SERVED_REDIS"

BARE = "bare"
KINDS: dict[str, Callable[[Place], Stack]] = {
    BARE: lambda _: Stack(BARE, lambda _: fastapi(), ()),
    "RateLimit in memory, 1 limit": lambda place: of_asgi_guard.rate_limit(place, 1),
    "RateLimit on Redis, 1 limit": lambda place: of_asgi_guard.rate_limit(place, 1),
    "RateLimit on Redis, 3 limits": lambda place: of_asgi_guard.rate_limit(place, 3),
    "RateLimit on Redis, leases of 10": lambda place: of_asgi_guard.rate_limit(place, 1, lease=10),
    "slowapi on Redis, 1 limit": lambda place: slowapi(place, 1),
}
"""What is served, by its name."""


def on_redis(name: str) -> bool:
    """Return whether what is called so keeps its counters in Redis."""
    return "on Redis" in name


def make() -> ASGIApp:
    """Return the app that the environment names."""
    return KINDS[os.environ[NAME]](lambda: os.environ.get(URL)).build(LOOSE)
