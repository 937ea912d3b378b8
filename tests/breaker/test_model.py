"""A breaker in the hands of chance: whatever is done to it, it never wedges, and it adds up."""

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from asgi_guard import BreakerState, CircuitBreaker
from asgi_guard.testing import FakeClock

OPEN_FOR, OPEN_MAX, LEASE = 5.0, 40.0, 12.0
REFUSES = {BreakerState.OPEN, BreakerState.FORCED_OPEN}
WORDS = ["success", "failure", "ignore"]


class Model(RuleBasedStateMachine):
    """Calls that begin, end, and get lost; hands that change the state; and time."""

    @initialize(
        trials=st.integers(1, 3),
        recover=st.integers(1, 3),
        slow=st.sampled_from([None, 2.0]),
        calls=st.sampled_from([None, 8]),
    )
    def begin(self, trials: int, recover: int, slow: float | None, calls: int | None) -> None:
        """Make a breaker."""
        self.clock = FakeClock()
        self.trials = trials
        self.it = CircuitBreaker(
            "model",
            consecutive_failures=3,
            min_calls=4,
            window_calls=calls,
            max_trials=trials,
            recover_after=recover,
            slow_call=slow,
            open_for=OPEN_FOR,
            open_max=OPEN_MAX,
            trial_lease=LEASE,
            clock=self.clock,
        )
        self.under_way: list[Any] = []
        self.begun = self.refused = self.lost = 0
        self.generation = 0

    @rule()
    def call(self) -> None:
        """Begin a call; whether it may is what the breaker has said before."""
        state, wait = self.it.state, self.it.retry_after
        attempt = self.it.try_acquire()
        self.begun += 1
        if attempt is None:
            self.refused += 1
            assert state is not BreakerState.CLOSED or self.it.state is BreakerState.OPEN
        else:
            assert state not in REFUSES
            self.under_way.append(attempt)
        if state in {BreakerState.DISABLED, BreakerState.METRICS_ONLY}:
            assert attempt is not None
        if state is BreakerState.HALF_OPEN:
            assert (attempt is not None) is (wait == 0.0)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 10**6), word=st.sampled_from(WORDS))
    def end(self, which: int, word: str) -> None:
        """End one of the calls."""
        getattr(self.under_way.pop(which % len(self.under_way)), word)()

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 10**6))
    def lose(self, which: int) -> None:
        """Lose one of the calls."""
        self.under_way.pop(which % len(self.under_way))
        self.lost += 1

    @rule(seconds=st.sampled_from([0.1, 1.0, 2.5, OPEN_FOR, LEASE, 100.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([1.0, 30.0, 1e9]))
    def throttle(self, seconds: float) -> None:
        """Let the downstream ask for peace."""
        self.it.throttle(seconds)

    @rule(hand=st.sampled_from(["close", "disable", "metrics_only", "force_open"]))
    def force(self, hand: str) -> None:
        """Change the state by hand; forced open for so many seconds."""
        getattr(self.it, hand)(*([7.0] if hand == "force_open" else []))

    @rule()
    def never_wedged(self) -> None:
        """After the open time and the leases a call is always admitted."""
        self.clock.advance(self.it.retry_after or 0.0)
        if self.it.state is BreakerState.HALF_OPEN:
            self.clock.advance(LEASE)
        if self.it.state is BreakerState.CLOSED and self.it._settings.slow_call is not None:
            return  # calls under way may be slow by now, and trip it
        attempt = self.it.try_acquire()
        assert attempt is not None
        self.begun += 1
        attempt.ignore()

    @invariant()
    def trials_are_bounded(self) -> None:
        """At most so many at once."""
        if hasattr(self, "it"):
            assert len(self.it.core.machine._trials._under_way) <= self.trials

    @invariant()
    def counters_add_up(self) -> None:
        """Every call that has begun is counted once when it is over, and only then."""
        if hasattr(self, "it"):
            now = self.it.snapshot()
            over = now.success + now.failure + now.ignored
            assert over + len(self.under_way) + self.lost + now.not_permitted == self.begun
            assert now.not_permitted == self.refused
            assert now.window_failures <= now.window_calls
            assert now.window_slow <= now.window_calls

    @invariant()
    def waits_are_told(self) -> None:
        """A number, and no longer than it can be."""
        if hasattr(self, "it"):
            wait = self.it.retry_after
            assert wait is not None
            assert math.isfinite(wait)
            assert 0.0 <= wait <= 300.001
            assert (wait > 0) >= (self.it.state in REFUSES)

    @invariant()
    def generations_grow(self) -> None:
        """They number the eras."""
        if hasattr(self, "it"):
            assert self.it.core.machine.generation >= self.generation
            self.generation = self.it.core.machine.generation


TestModel: Any = Model.TestCase
TestModel.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)
