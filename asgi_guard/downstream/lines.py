"""The lines of one downstream: one for each event loop, and drained wherever its breaker opens."""

import asyncio
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakKeyDictionary

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.states import BreakerState, Transition
from asgi_guard.downstream.line import Line

_OPENS = frozenset({BreakerState.OPEN, BreakerState.FORCED_OPEN})


class Lines:
    """The line of each event loop, made when it is first asked for.

    Args:
        make: Makes a line.
        breaker: Whose opening drains them all; None: nobody's.
    """

    def __init__(self, make: Callable[[], Line], breaker: CircuitBreaker | None) -> None:
        self._make = make
        self._breaker = breaker
        self._lock = threading.Lock()
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, Line] = WeakKeyDictionary()
        # The loop that ran last and its line; one attribute, so that loops in several threads
        # cannot mix each other's halves up. A closed loop is not kept alive for it.
        self._last: tuple[weakref.ref[asyncio.AbstractEventLoop] | None, Line | None] = (None, None)
        if breaker is not None:
            _listen(self, breaker)

    def line(self) -> Line:
        """Return the line of the running event loop."""
        loop = asyncio.get_running_loop()
        known, line = self._last
        if line is not None and known is not None and known() is loop:
            return line
        with self._lock:
            line = self._lines.get(loop)
            if line is None:
                line = self._lines[loop] = self._make()
        self._last = (weakref.ref(loop), line)
        return line

    def all(self) -> list[tuple[asyncio.AbstractEventLoop, Line]]:
        """Return every loop that is alive, and its line."""
        with self._lock:
            return list(self._lines.items())

    def on_transition(self, transition: Transition) -> None:
        """Refuse all who wait when the breaker opens; whoever has opened it may be any thread."""
        if self._breaker is None or transition.after not in _OPENS:
            return
        refusal = self._breaker.core.refused_now
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        for loop, line in self.all():
            if loop is running:
                line.drain(refusal)
            else:
                with suppress(RuntimeError):  # it has been closed, and nobody waits in it
                    loop.call_soon_threadsafe(line.drain, refusal)


def _listen(lines: Lines, breaker: CircuitBreaker) -> None:
    """Tell lines of transitions for as long as they live: the breaker may live longer."""
    alive = weakref.ref(lines)

    def tell(name: str, transition: Transition) -> None:  # noqa: ARG001 - as listeners are called
        listening = alive()
        if listening is not None:
            listening.on_transition(transition)

    weakref.finalize(lines, breaker.add_listener(tell)).atexit = False
