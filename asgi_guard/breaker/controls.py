"""Controls: what is asked of a breaker and said to it, other than by calls."""

from collections.abc import Callable

from asgi_guard._checks import check_function, check_seconds
from asgi_guard.breaker.core import Core, Listener
from asgi_guard.breaker.states import BreakerState, Cause


class Controls:
    """The state of a breaker, who is told of it, and the hands that change it.

    Attributes:
        core: What the calls of the breaker share.
    """

    core: Core

    @property
    def state(self) -> BreakerState:
        """The state of this moment."""
        with self.core.lock:
            return self.core.machine.state(self.core.clock())

    @property
    def retry_after(self) -> float | None:
        """Seconds until a call may be admitted, 0 when one may now; None where nobody knows."""
        with self.core.lock:
            return self.core.machine.retry_after(self.core.clock())

    def add_listener(self, listener: Listener) -> Callable[[], None]:
        """Let a plain function be told of every transition, with the breaker's name.

        It is called after the fact, outside the lock, by whoever caused it, so it must be quick. An
        error of it is logged and hurts nobody. Children tell the listeners that their parent had
        when they were made.

        Returns:
            What to call to tell it no more.

        Raises:
            ConfigurationError: It is no plain function of two arguments.
        """
        check_function(
            "CircuitBreaker.add_listener",
            listener,
            "a plain function of a name and a Transition",
            takes=2,
        )
        self.core.listeners += (listener,)

        def remove() -> None:
            self.core.listeners = tuple(
                each for each in self.core.listeners if each is not listener
            )

        return remove

    def force_open(self, seconds: float | None = None) -> None:
        """Refuse every call, for so many seconds above 0, or until `close()`."""
        if seconds is not None:
            check_seconds("CircuitBreaker.force_open", seconds)
        self.core.force(BreakerState.FORCED_OPEN, seconds)

    def close(self) -> None:
        """Close it, forgetting what has been counted in the window."""
        self.core.force(BreakerState.CLOSED)

    def disable(self) -> None:
        """Admit every call and draw no conclusions, until `close()`."""
        self.core.force(BreakerState.DISABLED)

    def metrics_only(self) -> None:
        """Admit every call and only tell when it would trip, until `close()`."""
        self.core.force(BreakerState.METRICS_ONLY)

    def throttle(self, seconds: float) -> None:
        """Open for so many seconds, at most `retry_after_max`: the downstream has asked for it.

        One that is open already stays open for so long, at least. That is no transition: nothing is
        logged, and no listener is told.

        Args:
            seconds: From 0 up.

        Raises:
            ConfigurationError: It is no such number.
        """
        check_seconds("CircuitBreaker.throttle", seconds, zero=True)
        most = min(seconds, self.core.retry_after_max)
        if most > 0:
            self.core.open_for(
                most, Cause.RETRY_AFTER, f"the downstream asks for {most:.3g} s of peace"
            )
