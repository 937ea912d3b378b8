"""Several workers and one Redis: they open together, one tries, and all recover."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.processes import Children, until
from tests.servers.serving import Served, Servers
from tests.servers.sharing_app import OPEN_FOR
from tests.stores.redis_server import RedisServer, RedisServers

WORKERS = 3
TRIAL = 0.7  # seconds


@pytest.fixture(scope="module")
def redis(redis_servers: RedisServers) -> RedisServer:
    """Return the server where they meet."""
    return redis_servers.get("redis-8")


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file that the downstream writes to."""
    return tmp_path_factory.mktemp("calls") / "calls"


@pytest.fixture(scope="module")
def workers(children: Children, redis: RedisServer, calls: Path) -> Iterator[Served]:
    """Return workers that share a breaker, each of which has been called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHARED", redis.url)
        patch.setenv("CALLS", str(calls))
        served = Servers(children).start("uvicorn", "sharing_app:app", "--workers", str(WORKERS))
        seen: set[int] = set()

        def all_have_been_called() -> bool:
            seen.add(httpx.get(f"{served.url}/call", trust_env=False).json()["pid"])
            return len(seen) == WORKERS

        until(all_have_been_called)
        time.sleep(0.2)  # they have begun to listen
        yield served


def states(served: Served) -> set[str]:
    """Return the states of all workers."""
    found: dict[int, str] = {}
    while len(found) < WORKERS:  # a new connection each time, which any worker may take
        answer = httpx.get(f"{served.url}/state", trust_env=False).json()
        found[answer["pid"]] = answer["state"]
    return set(found.values())


def crowd(served: Served, path: str, number: int) -> list[int]:
    """Return the statuses of many requests at once, over connections of their own."""

    def one(_: int) -> int:
        return httpx.get(f"{served.url}{path}", trust_env=False, timeout=20).status_code

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(number)))


def test_workers_open_together_and_one_tries(workers: Served, calls: Path) -> None:
    """A failed trial opens all again, a successful one closes all; and there is one of each."""
    while "open" not in states(workers):
        assert httpx.get(f"{workers.url}/call?fail", trust_env=False).status_code in {502, 503}
    until(lambda: states(workers) == {"open"})
    calls.write_text("")
    assert set(crowd(workers, "/call", 20)) == {503}
    assert not calls.read_text(), "nobody has called"
    for path, outcome, after in (
        (f"/call?take={TRIAL}&fail", 502, {"open"}),
        (f"/call?take={TRIAL}", 200, {"closed"}),
    ):
        statuses = during_a_trial(workers, calls, path)
        assert len(calls.read_text().splitlines()) == 1, "one trial of all workers"
        assert statuses.count(outcome) == 1
        assert set(statuses) == {outcome, 503}
        until(partial(all_are, workers, after), within=OPEN_FOR)


def during_a_trial(workers: Served, calls: Path, path: str) -> list[int]:
    """Send crowds until one of them calls the downstream; return what was answered."""
    calls.write_text("")
    until(partial(all_are, workers, {"half-open"}))
    statuses: list[int] = []
    while not calls.read_text():
        statuses += crowd(workers, path, 16)
    return statuses


def all_are(workers: Served, expected: set[str]) -> bool:
    """Tell whether the workers are in these states."""
    return states(workers) == expected


def test_workers_whose_redis_is_frozen_answer_at_once(workers: Served, redis: RedisServer) -> None:
    """Closed, tripping and open: none of it waits."""
    until(lambda: states(workers) == {"closed"})
    with redis.frozen():
        began = time.monotonic()
        statuses = crowd(workers, "/call", 50) + crowd(workers, "/call?fail", 50)
        assert time.monotonic() - began < 5.0
        assert statuses[:50] == [200] * 50
        assert set(statuses[50:]) == {502, 503}
    with httpx.Client(trust_env=False) as http:
        until(lambda: http.get(f"{workers.url}/call") and states(workers) == {"closed"})
