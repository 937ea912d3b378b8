"""What tests of downstreams share."""

from typing import Any

import pytest

from tests.downstream.queue.skipping import SKIPPING


@pytest.fixture(scope="session")
def anyio_backend() -> Any:
    """Run on a loop that need not wait."""
    return SKIPPING
