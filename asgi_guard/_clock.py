"""Time as an argument."""

import time
from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""A callable that returns seconds which never run backwards."""

monotonic: Clock = time.monotonic
