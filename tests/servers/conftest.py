"""Servers under test."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import httpx
import pytest

from tests.processes import Children
from tests.servers.reading import Gate, until_permits
from tests.servers.serving import KINDS, Served, Servers

_tokens = count()


@pytest.fixture(scope="session")
def servers(children: Children) -> Servers:
    """Every server that was asked for so far."""
    return Servers(children)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Return the kind of server."""
    return str(request.param)


@pytest.fixture
def served(kind: str, servers: Servers) -> Served:
    """Return the guarded app on every kind of server."""
    return servers.get(kind, "guarded_app:app")


@pytest.fixture
def idle(served: Served, http: httpx.Client) -> Iterator[Served]:
    """Return the guarded app with all permits free, and see that the test leaves it so."""
    until_permits(http, served.url, 0)
    yield served
    until_permits(http, served.url, 0)


@pytest.fixture
def token() -> str:
    """Return a name that no other test uses: for a client, or for what handlers wait at."""
    return f"t{next(_tokens)}"


@pytest.fixture
def gate(
    served: Served, http: httpx.Client, token: str, threads: ThreadPoolExecutor
) -> Iterator[Gate]:
    """Return what handlers of this test wait at; it opens before the threads are waited for."""
    gate = Gate(http, served.url, token)
    yield gate
    gate.open()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Return threads for requests that are to be answered later."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool
