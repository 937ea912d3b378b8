"""Several workers and one Redis: a quota is one quota, seen from outside."""

import time

import pytest

from tests.load import hey
from tests.processes import Children
from tests.servers.serving import Served, Servers
from tests.servers.shared_app import QUOTA, WINDOW
from tests.stores.redis_server import RedisServers

WORKERS = 4
CROWD = 400


@pytest.fixture(scope="module")
def shared(children: Children, redis_servers: RedisServers) -> Served:
    """Return four workers that count together."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORE", redis_servers.get("redis-8").url)
        return Servers(children).start(
            "uvicorn", "shared_app:make", "--factory", "--workers", str(WORKERS)
        )


@pytest.mark.parametrize("path", ["/sliding", "/bucket"])
def test_workers_admit_the_quota_together(shared: Served, path: str) -> None:
    """Exactly: not one more, and not one less."""
    assert hey(f"{shared.url}{path}", CROWD, 20) == {200: QUOTA, 429: CROWD - QUOTA}


def test_workers_admit_the_quota_in_each_window(shared: Served) -> None:
    """By the clock of the server that counts, which here is everybody's."""
    for _ in range(2):
        time.sleep(WINDOW - time.time() % WINDOW)
        counts = hey(f"{shared.url}/fixed", CROWD, 20)
        assert time.time() % WINDOW < WINDOW - 1, "the machine was too slow to tell"
        assert counts == {200: QUOTA, 429: CROWD - QUOTA}
