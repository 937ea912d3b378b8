"""An app whose workers count together, in the store that the environment names."""

import os
from typing import Any

from asgi_guard import RateLimit, Rule
from tests.driver import hello

QUOTA = 150
WINDOW = 5  # seconds


def everybody(_: Any) -> str:
    """Key all requests alike."""
    return "everybody"


def make() -> object:
    """Make the app, in each worker."""
    return RateLimit(
        Rule(f"{QUOTA}/year", path="/sliding", key=everybody),
        Rule(f"{QUOTA}/{WINDOW} seconds", path="/fixed", key=everybody, algorithm="fixed-window"),
        Rule(f"{QUOTA}/year", path="/bucket", key=everybody, burst=QUOTA),
        store=os.environ["STORE"],
        store_timeout=5.0,  # what is tested is the sum, on however slow a machine
    )(hello)
