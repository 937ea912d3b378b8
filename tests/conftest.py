"""What tests with real servers share: a folder, the children, a client."""

import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from asgi_guard.breaker import registration
from tests.processes import Children
from tests.stores.memcached_server import MemcachedServer
from tests.stores.redis_cluster import RedisCluster
from tests.stores.redis_sentinel import RedisSentinel
from tests.stores.redis_server import KINDS, RedisServer, RedisServers

_numbers = count()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio; where the loop may matter, a module asks for uvloop as well."""
    return "asyncio"


@pytest.fixture(scope="session")
def children() -> Iterator[Children]:
    """Everything that was started, stopped in reverse order when the tests have ended."""
    folder = Path(tempfile.mkdtemp(prefix="asgi-guard-tests-"))
    folder.chmod(0o755)  # servers that may not run as root read it as nobody
    started = Children(folder)
    try:
        yield started
    finally:
        try:
            started.stop()
        finally:
            shutil.rmtree(folder)


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """Return a client that goes straight to the loopback, past any proxy of the environment."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def redis_servers(children: Children) -> RedisServers:
    """Every Redis-like server that was asked for so far."""
    return RedisServers(children)


@pytest.fixture(params=KINDS)
def redis_server(request: pytest.FixtureRequest, redis_servers: RedisServers) -> RedisServer:
    """Return a server of every kind: shared by all tests, and empty for each."""
    return redis_servers.get(request.param)


@pytest.fixture(scope="session")
def shared_redis_cluster(children: Children) -> RedisCluster:
    """Return the cluster that all tests share."""
    return RedisCluster(children)


@pytest.fixture
def redis_cluster(shared_redis_cluster: RedisCluster) -> RedisCluster:
    """Return a Redis Cluster, whole and empty for each test."""
    shared_redis_cluster.mend()
    return shared_redis_cluster


@pytest.fixture
def redis_sentinel(children: Children) -> Iterator[RedisSentinel]:
    """Return a master of the test's own, with a replica and a sentinel: it is there to be lost."""
    sentinel = RedisSentinel(children, f"redis-{next(_numbers)}")
    yield sentinel
    sentinel.stop()


@pytest.fixture(scope="session")
def shared_memcached_server(children: Children) -> MemcachedServer:
    """Return the memcached that all tests share."""
    return MemcachedServer(children, "memcached")


@pytest.fixture
def memcached_server(shared_memcached_server: MemcachedServer) -> MemcachedServer:
    """Return a memcached, empty for each test."""
    shared_memcached_server.mend()
    return shared_memcached_server


@pytest.fixture(autouse=True)
def _no_breakers_of_others() -> Iterator[None]:
    """Forget breakers that nobody shows: a guard of another test would say so."""
    registration._used.clear()
    yield
    registration._used.clear()
