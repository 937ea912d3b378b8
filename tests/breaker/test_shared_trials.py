"""Which process makes the trials, as arithmetic."""

from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.breaker.shared_trials import PATIENCE, SharedTrials, Wish
from asgi_guard.breaker.trials import Trial

LEASE = 30.0


def trials(*, is_connected: bool = True) -> tuple[SharedTrials, list[Wish]]:
    """Return trials, and what they say."""
    said: list[Wish] = []
    it = SharedTrials(1, LEASE, said.append)
    it.is_connected = is_connected
    return it, said


def test_the_first_trial_asks_and_the_next_begins() -> None:
    """Once it has been answered; what is under way is told to others."""
    it, said = trials()
    assert it.begin(0.0) is None
    assert it.begin(0.01) is None
    assert said == ["ask"]
    assert 0 < it.wait(0.01) <= PATIENCE
    it.take()
    trial = it.begin(0.02)
    assert isinstance(trial, Trial)
    assert said == ["ask", "trial"]
    assert it.begin(0.03) is None, "as many as there may be"
    assert it.end(trial, 0.04)
    assert it.begin(500.0), "no other process has said that it tries"


def test_another_process_tries_and_then_it_is_asked_again() -> None:
    """Its lease ends though it may have died."""
    it, said = trials()
    it.begin(0.0)
    it.leave(10.0, 0.01)
    assert it.begin(10.0) is None
    assert it.wait(4.01) == 6.0
    assert it.begin(10.02) is None
    assert said == ["ask", "ask"]
    it.take()
    assert it.begin(10.03)


def test_without_an_answer_it_tries_by_itself() -> None:
    """After a moment, and once for all of the era."""
    it, said = trials()
    it.begin(0.0)
    assert it.begin(PATIENCE - 0.01) is None
    trial = it.begin(PATIENCE)
    assert trial is not None
    it.end(trial, 0.2)
    assert it.begin(0.3)
    assert said == ["ask", "trial", "trial"]


def test_without_anybody_to_ask_it_tries_at_once() -> None:
    """And says nothing; so it does when the line is lost while it waits."""
    it, said = trials(is_connected=False)
    assert it.begin(0.0)
    assert not said
    it, said = trials()
    it.begin(0.0)
    it.is_connected = False
    assert it.begin(0.01)
    it, said = trials()
    it.leave(10.0, 0.0)
    it.is_connected = False
    assert it.wait(0.0) == 0
    assert it.begin(0.01)


def test_a_new_era_begins_anew() -> None:
    """With a question, whoever made the trials before."""
    it, said = trials()
    it.take()
    assert it.begin(0.0)
    it.clear()
    assert it.begin(1.0) is None
    it.leave(10.0, 1.0)
    it.clear()
    assert it.begin(2.0) is None
    assert said == ["trial", "ask", "ask"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "take", "leave", "clear", "lose", "find", "end"]),
            st.floats(0, 20),
        ),
        max_size=60,
    )
)
def test_nothing_wedges(steps: list[tuple[str, float]]) -> None:
    """Whatever has happened: who keeps calling gets a trial, a lease and some moments later."""
    it, _ = trials()
    now = 0.0
    for step, seconds in steps:
        now += seconds
        if step == "begin":
            it.begin(now)
        elif step == "take":
            it.take()
        elif step == "leave":
            it.leave(seconds, now)
        elif step == "clear":
            it.clear()
        elif step in {"lose", "find"}:
            it.is_connected = step == "find"
        assert it.wait(now) >= 0
    later = now + LEASE + 0.01
    assert any(it.begin(later + moment * PATIENCE) for moment in range(4))
