"""What stands in for a result: the last good one with its age, or the fallback."""

import asyncio
from typing import Any

import pytest

from asgi_guard import (
    Answer,
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    Downstream,
    DownstreamBusy,
    FailedResult,
    Outcome,
)
from asgi_guard.testing import FakeClock


async def give(value: object) -> object:
    """Return it."""
    return value


async def broken(*args: object) -> object:
    """Fail."""
    raise ConnectionError


def downstream(**more: Any) -> tuple[Downstream, CircuitBreaker, FakeClock]:
    """Return one with a breaker and a clock."""
    clock, breaker = FakeClock(), CircuitBreaker("b")
    return Downstream("d", breaker=breaker, min_interval=0, clock=clock, **more), breaker, clock


async def test_a_fresh_result_has_no_age() -> None:
    """Nothing is stale about it."""
    answer = await downstream()[0].fetch("k", give, 5)
    assert answer == Answer(5, 0.0, None)
    assert not answer.is_stale


async def test_a_refused_call_is_answered_with_the_last_good_result() -> None:
    """Of its key, and with its age."""
    made, breaker, clock = downstream()
    await made.fetch("a", give, 1)
    clock.advance(10)
    await made.fetch("a", give, 2)
    await made.fetch("b", give, None)
    clock.advance(30)
    breaker.force_open()
    answer = await made.fetch("a", give, 3)
    assert (answer.value, answer.age, answer.is_stale) == (2, 30.0, True)
    assert isinstance(answer.error, CircuitOpen)
    assert (await made.fetch("b", give, 3)).value is None
    with pytest.raises(CircuitOpen):
        await made.fetch("c", give, 3)
    with pytest.raises(CircuitOpen):
        await made.call(give, 3)
    assert made.snapshot().stale == 2


async def test_a_failed_call_is_so_too_if_that_is_wanted() -> None:
    """By default failures are seen."""
    for on, seen in (("rejected", True), ("failure", False)):
        made, _, clock = downstream(fallback_on=on)
        await made.fetch("k", give, 1)
        clock.advance(2)
        if seen:
            with pytest.raises(ConnectionError):
                await made.fetch("k", broken)
        else:
            answer = await made.fetch("k", broken)
            assert (answer.value, answer.age, type(answer.error)) == (1, 2.0, ConnectionError)


async def test_only_so_many_are_kept_and_for_so_long() -> None:
    """The one that was fetched least recently makes room."""
    made, breaker, clock = downstream(keep_last=2, keep_for=60.0)
    for key in ("a", "b", "a", "c"):
        await made.fetch(key, give, key)
    breaker.force_open()
    assert (await made.fetch("a", give, 0)).value == "a"
    assert (await made.fetch("c", give, 0)).value == "c"
    with pytest.raises(CircuitOpen):
        await made.fetch("b", give, 0)
    clock.advance(60.0)
    assert (await made.fetch("a", give, 0)).age == 60.0
    clock.advance(0.1)
    with pytest.raises(CircuitOpen):
        await made.fetch("a", give, 0)


async def test_none_are_kept_where_none_are_wanted() -> None:
    """Results can be big."""
    made, breaker, _ = downstream(keep_last=0)
    await made.fetch("k", give, 1)
    breaker.force_open()
    with pytest.raises(CircuitOpen):
        await made.fetch("k", give, 1)


async def test_a_failed_result_is_not_kept() -> None:
    """The last good one stays."""
    breaker = CircuitBreaker(
        "b", classify=lambda error, result: Outcome.FAILURE if result == "bad" else None
    )
    made = Downstream("d", breaker=breaker)
    await made.fetch("k", give, "good")
    assert (await made.fetch("k", give, "bad")).value == "bad"
    breaker.force_open()
    assert (await made.fetch("k", give, "new")).value == "good"


async def test_a_failed_result_is_replaced_where_failures_are() -> None:
    """By the last good one, or else by the fallback; without either it is all there is."""

    def made(**more: Any) -> Downstream:
        judged = CircuitBreaker(
            "b", classify=lambda error, result: Outcome.FAILURE if result == "bad" else None
        )
        return Downstream("d", breaker=judged, fallback_on="failure", min_interval=0, **more)

    with_fallback = made(fallback=lambda value: f"not {value}")
    await with_fallback.fetch("k", give, "good")
    kept = await with_fallback.fetch("k", give, "bad")
    assert (kept.value, type(kept.error)) == ("good", FailedResult)
    answer = await with_fallback.fetch("other", give, "bad")
    assert (answer.value, answer.age, type(answer.error)) == ("not bad", None, FailedResult)
    assert await with_fallback.call(give, "bad") == await with_fallback(give)("bad") == "not bad"
    assert with_fallback.snapshot().fallbacks == 3
    plain = made(keep_last=0)
    assert await plain.call(give, "bad") == (await plain.fetch("k", give, "bad")).value == "bad"


async def test_the_fallback_stands_in_for_refused_calls() -> None:
    """A value, or a function of the same arguments, plain or async; and behind a kept result."""

    async def later(value: int) -> int:
        return value * 10

    for fallback, expected in (("none", "none"), (lambda value: -value, -4), (later, 40)):
        made, breaker, _ = downstream(fallback=fallback)
        await made.fetch("kept", give, 3)
        with pytest.raises(ConnectionError):
            await made.call(broken, 4)
        breaker.force_open()
        assert await made.call(give, 4) == expected
        assert await made(give)(4) == expected
        assert (await made.fetch("kept", give, 4)).value == 3
        answer = await made.fetch("other", give, 4)
        assert (answer.value, answer.age, answer.is_stale) == (expected, None, True)
        assert (made.snapshot().fallbacks, made.snapshot().stale) == (3, 1)


async def test_it_stands_in_where_too_many_wait() -> None:
    """In a block there is nothing to stand in for."""
    made = Downstream("d", max_concurrent=1, max_queue=0, fallback="busy")
    async with made.slot():
        assert await made.call(give, 1) == "busy"
        with pytest.raises(DownstreamBusy):
            async with made.slot():
                pass


async def test_it_stands_in_for_those_who_are_drained() -> None:
    """At once."""
    made, breaker, _ = downstream(fallback="drained", max_concurrent=1)
    async with made.slot():
        waiting = [asyncio.create_task(made.call(give, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        breaker.force_open()
        assert await asyncio.gather(*waiting) == ["drained"] * 3


async def test_a_fallback_that_fails_is_seen_and_counted() -> None:
    """Its error is raised, with the refusal behind it."""

    def fails(value: object) -> None:
        raise LookupError

    made, breaker, _ = downstream(fallback=fails)
    breaker.force_open()
    with pytest.raises(LookupError) as raised:
        await made.call(give, 1)
    assert isinstance(raised.value.__context__, CircuitOpen)
    assert made.snapshot().fallbacks_failed == 1


async def test_a_key_that_can_keep_nothing_is_refused_before_the_call() -> None:
    """Not after a result has come that is lost then."""
    it, breaker, _ = downstream()
    with pytest.raises(ConfigurationError, match=r"fetch\.key is \['a'\]"):
        await it.fetch(["a"], give, 5)  # type: ignore[arg-type]
    assert breaker.snapshot().success == 0
