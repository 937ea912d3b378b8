"""An app that counts in its process."""

from asgi_guard import RateLimit
from tests.driver import hello


def make() -> object:
    """Make the app, in each worker."""
    return RateLimit("1/hour")(hello)
