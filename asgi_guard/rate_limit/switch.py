"""The switch that turns rate limits off at run time."""

import logging
from threading import Lock

_LOG = logging.getLogger("asgi_guard")


class Switch:
    """Turns every `RateLimit` that has it off and on, while the app runs.

    It is on at first. While it is off, every request passes: nothing is charged or counted, no
    store is asked, and no header fields are sent. It belongs to one process, and may be thrown from
    any thread. Each change is logged once, as a warning.

    Attributes:
        passes: Whether every request passes, which is when it is off.
    """

    __slots__ = ("_lock", "passes")

    def __init__(self) -> None:
        self._lock = Lock()
        self.passes: bool = False

    def off(self) -> None:
        """Let every request pass from now on."""
        self._throw(passes=True)

    def on(self) -> None:
        """Charge and refuse again, going on from what was charged before."""
        self._throw(passes=False)

    def is_on(self) -> bool:
        """Tell whether the limits hold."""
        return not self.passes

    def _throw(self, *, passes: bool) -> None:
        with self._lock:
            if self.passes is passes:
                return
            self.passes = passes
        _LOG.warning(
            "rate limit: switched %s", "off, every request passes" if passes else "on again"
        )
