"""What one breaker says to other processes, and learns from them, on a clock of the test."""

import asyncio
import time

import pytest

from asgi_guard.breaker.core import Core
from asgi_guard.breaker.share import Note, Share
from asgi_guard.breaker.shared_machine import SharedMachine
from asgi_guard.breaker.states import BreakerState, Cause, Outcome, Transition
from asgi_guard.breaker.thresholds import Thresholds
from asgi_guard.errors import CircuitOpen
from asgi_guard.testing import FakeClock


class Process:
    """A process with a breaker that trips on the first failure, and what it has said."""

    def __init__(
        self, *, is_connected: bool = True, retry_after_max: float = 300.0, jitter: float = 0.0
    ) -> None:
        self.clock = FakeClock()
        machine = SharedMachine(
            Thresholds(consecutive_failures=1, open_for=5.0, jitter=jitter, recover_after=1),
            lambda: 0.0,
        )
        self.core = Core("payments", machine, self.clock, retry_after_max)
        self.notes: list[Note] = []
        self.share = Share(self.core, machine, 1, 30.0, self.notes.append)
        self.share.connect(is_connected=is_connected)
        self.notes.clear()

    @property
    def state(self) -> BreakerState:
        """Its state."""
        return self.core.machine.state(self.clock())

    @property
    def said(self) -> list[tuple[str, float]]:
        """Return what it has said."""
        return [(note.word, note.seconds) for note in self.notes]

    def call(self, outcome: Outcome) -> None:
        """Make a call."""
        self.core.settle(self.core.admit(), outcome)

    def asked(self) -> Note:
        """Let a call be refused for want of the lease; return the question."""
        with pytest.raises(CircuitOpen):
            self.core.admit()
        assert self.notes[-1].word == "ask"
        return self.notes[-1]


def test_a_trip_a_trial_and_a_recovery_are_told() -> None:
    """Each with its length; nothing else is."""
    process = Process()
    for _ in range(5):
        process.call(Outcome.SUCCESS)
    assert not process.said
    process.call(Outcome.FAILURE)
    process.clock.advance(5.0)
    process.share.learn_answer(process.asked(), 0)
    process.call(Outcome.SUCCESS)
    assert process.said == [("open", 5.0), ("ask", 30.0), ("trial", 30.0), ("close", 0.0)]
    assert process.state is BreakerState.CLOSED


def test_nobody_else_opens_it_for_longer_than_it_would_itself() -> None:
    """Whoever may publish on the channel may say any number."""
    process = Process()
    process.share.learn_open(1e11)
    assert process.core.machine.retry_after(process.clock()) == 300.0


def test_it_is_as_patient_as_it_would_be_after_failures_of_its_own() -> None:
    """Also where a downstream may ask for less."""
    process = Process(retry_after_max=1.0, jitter=0.5)
    process.share.learn_open(1e6)
    assert process.core.machine.retry_after(process.clock()) == 60.0 * 1.5


def test_nobody_else_keeps_trials_for_longer_than_it_would_itself() -> None:
    """Then it asks again who makes them."""
    process = Process()
    process.call(Outcome.FAILURE)
    process.clock.advance(5.0)
    process.share.learn_answer(process.asked(), 1e11)
    process.clock.advance(30.0)
    process.share.learn_answer(process.asked(), 0.0)
    process.share.learn_trial(1e11)
    with pytest.raises(CircuitOpen):
        process.core.admit()
    process.clock.advance(30.0)
    assert process.asked()


def test_an_answer_to_an_earlier_era_is_none() -> None:
    """Meanwhile somebody else may try."""
    process = Process()
    process.call(Outcome.FAILURE)
    process.clock.advance(5.0)
    question = process.asked()
    process.share.learn_open(5.0)
    process.clock.advance(5.0)
    again = process.asked()
    process.share.learn_answer(question, 0)
    with pytest.raises(CircuitOpen):
        process.core.admit()
    process.share.learn_answer(again, 7.0)
    process.clock.advance(4.0)
    assert process.core.machine.retry_after(process.clock()) == 3.0


def test_what_is_learnt_is_not_told() -> None:
    """Opening, recovering and trials of others."""
    process = Process()
    process.share.learn_open(3.0)
    assert process.core.machine.retry_after(process.clock()) == 3.0
    process.share.learn_open(1.0)
    assert process.core.machine.retry_after(process.clock()) == 3.0, "never for shorter"
    process.share.learn_closed()
    assert process.state is BreakerState.CLOSED
    process.share.learn_closed()
    process.share.learn_trial(3.0)
    process.call(Outcome.SUCCESS)
    assert not process.said
    changes = process.core.machine.transitions
    assert sum(changes.values()) == 2


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_a_listener_cannot_end_the_thread(
    end: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    """Others would never be heard again, and the process goes on in any case."""
    process = Process()

    def ends(name: str, change: Transition) -> None:
        raise end

    process.core.listeners += (ends,)
    process.share.learn_open(3.0)
    states = [process.state]
    process.share.learn_closed()
    assert [*states, process.state] == [BreakerState.OPEN, BreakerState.CLOSED]
    said = f"circuit 'payments': a listener raised {end.__name__}, which ends nothing"
    assert caplog.messages.count(said) == 2


@pytest.mark.parametrize("cause", [Cause.RETRY_AFTER, Cause.FAILURE_RATE])
def test_what_still_holds_is_told_again(cause: Cause) -> None:
    """To those who were not there: for the time that remains."""
    process = Process(is_connected=False)
    process.share.retell()
    process.core.open_for(8.0, cause, "")
    process.clock.advance(2.0)
    process.share.retell()
    process.clock.advance(6.0)
    process.share.retell()
    assert process.said == [("open", 8.0), ("open", 6.0)]


def test_a_longer_open_time_is_told() -> None:
    """What trips it may say in its next line how long to leave it alone; shorter is nothing new."""
    process = Process()
    process.call(Outcome.FAILURE)
    process.core.open_for(60.0, Cause.RETRY_AFTER, "")
    process.core.open_for(30.0, Cause.RETRY_AFTER, "")
    process.share.learn_open(90.0)
    assert process.said == [("open", 5.0), ("open", 60.0)]
    assert process.core.machine.retry_after(process.clock()) == 90.0


def test_a_note_holds_for_what_is_left() -> None:
    """However long it lay there."""
    note = Note(Process().share, "open", 5.0, written=time.monotonic() - 2.0)
    assert 2.5 < note.left <= 3.0


def test_hands_do_not_reach_other_processes() -> None:
    """Whatever they do."""
    process = Process()
    for state in BreakerState:
        if state not in {BreakerState.OPEN, BreakerState.HALF_OPEN}:
            process.core.force(state)
            process.share.learn_closed()
            assert process.state is state
    assert not process.said
