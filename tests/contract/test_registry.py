"""The contract covers every guard there is."""

import inspect

import asgi_guard
from tests.contract.guards import GUARDS


def test_every_public_guard_is_under_contract() -> None:
    """A class whose objects are called with an app is a guard, and must be listed."""
    guards = {
        name
        for name in asgi_guard.__all__
        if inspect.isclass(thing := getattr(asgi_guard, name))
        and "app" in inspect.signature(thing.__call__).parameters
    }
    assert guards == set(GUARDS)
