"""Runs each test of the contract for each guard."""

import pytest

from asgi_guard._asgi import ASGIGuard
from tests.contract.guards import GUARDS, REFUSERS, Refuser


@pytest.fixture(params=sorted(GUARDS))
def guard(request: pytest.FixtureRequest) -> ASGIGuard:
    """Return a guard that refuses nothing."""
    return GUARDS[request.param]()


@pytest.fixture(params=sorted(REFUSERS))
def refuser(request: pytest.FixtureRequest) -> Refuser:
    """Return a guard that can be made to refuse."""
    return REFUSERS[request.param]


@pytest.fixture(params=sorted(name for name, each in REFUSERS.items() if each.takes_websockets))
def socket_refuser(request: pytest.FixtureRequest) -> Refuser:
    """Return a guard that can be made to refuse a websocket."""
    return REFUSERS[request.param]
