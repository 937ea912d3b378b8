"""An event loop whose time skips ahead to the next timer instead of waiting for it."""

import asyncio
import selectors
from typing import Any


class _Selector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> Any:
        """Return what is ready; if nothing is, let the time pass that it was to be waited for."""
        events = super().select(timeout if timeout is None else 0)
        if not events and timeout:
            self.now += timeout
        return events


class SkippingLoop(asyncio.SelectorEventLoop):
    """A loop that tells the time by the timers it has run."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the seconds that seem to have passed."""
        return self._skipping.now


SKIPPING = ("asyncio", {"loop_factory": SkippingLoop})


def now() -> float:
    """Return the time of the running loop."""
    return asyncio.get_running_loop().time()


async def turns(count: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)
