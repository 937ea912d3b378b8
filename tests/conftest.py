"""What tests with real servers share: a folder, the children, a client."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import Children
from tests.stores.redis_server import KINDS, RedisServer, RedisServers


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
def redis_server(
    request: pytest.FixtureRequest, redis_servers: RedisServers
) -> Iterator[RedisServer]:
    """Return a server of every kind: shared by all tests, and empty for each."""
    server = redis_servers.get(request.param)
    server.mend()
    yield server
    server.thaw()
