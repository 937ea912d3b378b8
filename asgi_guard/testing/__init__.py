"""For tests of apps that are guarded, and of guards and stores."""

from asgi_guard.testing.clock import FakeClock
from asgi_guard.testing.stores import STORE_CHECK_NEEDS, STORE_CHECKS, StoreCheck, store_checks

__all__ = ["STORE_CHECKS", "STORE_CHECK_NEEDS", "FakeClock", "StoreCheck", "store_checks"]
