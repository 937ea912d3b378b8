"""Health: quick, quiet to strangers, and never a burden on what it asks."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import scoped_session, sessionmaker

from asgi_guard import (
    Check,
    CircuitBreaker,
    ConcurrencyLimit,
    ConfigurationError,
    Guard,
    Health,
    RateLimit,
)
from asgi_guard.health.check import Status
from asgi_guard.health.runner import Runner
from asgi_guard.testing import FakeClock
from tests.driver import get, hello
from tests.processes import EARLY

SECRET = "postgresql://user:hunter2@db/prod"


def fine() -> None:
    """Find nothing wrong."""


def broken() -> None:
    """Find something wrong, in words that nobody should read."""
    raise ConnectionError(SECRET)


async def stuck() -> None:
    """Find nothing out."""
    await asyncio.sleep(3600)


def everybody(scope: Any) -> bool:
    """Let everybody in."""
    return True


async def ask(path: str, **settings: Any) -> tuple[int, Any]:
    """Return status and body of an answer."""
    exchange = await get(path).run(Health(**settings)(hello))
    assert exchange.headers["cache-control"] == "no-store"
    return exchange.status, json.loads(exchange.body)


async def test_liveness_asks_nothing() -> None:
    """A process that answers is alive, whatever its dependencies do."""
    checks = {"db": Check(broken, critical=True), "slow": stuck}
    assert await ask("/livez", checks=checks) == (200, {"status": "pass"})


@pytest.mark.parametrize(
    ("check", "ready", "report"),
    [
        (fine, (200, "pass"), (200, "pass")),
        (broken, (200, "pass"), (200, "warn")),
        (Check(broken, critical=True), (503, "fail"), (503, "fail")),
        (lambda: False, (200, "pass"), (200, "warn")),
        (Check(stuck, critical=True, timeout=0.05), (503, "fail"), (503, "fail")),
    ],
)
async def test_only_what_is_critical_takes_out_of_service(
    check: Any, ready: tuple[int, str], report: tuple[int, str]
) -> None:
    """Everything else is a warning."""
    for path, expected in (("/readyz", ready), ("/health", report)):
        status, body = await ask(path, checks={"db": check})
        assert (status, body["status"]) == expected


def leave() -> None:
    """Try to end the process."""
    raise SystemExit(3)


async def aleave() -> None:
    """Try to end the process, from a coroutine."""
    raise SystemExit(3)


async def give_up() -> None:
    """Raise what a cancelled check raises, though nobody has cancelled it."""
    raise asyncio.CancelledError


def run_out() -> None:
    """Raise what a future cannot hold."""
    raise StopIteration


@pytest.mark.parametrize("check", [leave, aleave, give_up, run_out])
async def test_whatever_a_check_raises_is_its_answer(check: Any) -> None:
    """Neither the process nor the probe ends with it, and it is asked again."""
    guarded = Health(checks={"db": Check(check, critical=True, ttl=0.0)})(hello)
    for _ in range(2):
        assert (await get("/readyz").run(guarded)).status == 503


async def test_strangers_see_a_status_and_nothing_else() -> None:
    """Those who may, see the parts; nobody sees the words of an error."""
    assert (await ask("/health", checks={"db": broken}))[1] == {"status": "warn"}
    _, body = await ask("/health", checks={"db": broken}, access=everybody)
    assert body["checks"]["db"]["output"] == "ConnectionError"
    assert "hunter2" not in json.dumps(body)


async def test_checks_run_at_once() -> None:
    """The answer takes as long as the slowest, not as long as all."""
    meeting = asyncio.Barrier(5)

    async def meet() -> None:
        await meeting.wait()

    checks = {str(number): Check(meet, timeout=5.0) for number in range(5)}
    assert (await ask("/health", checks=checks))[1] == {"status": "pass"}


async def test_a_result_is_kept_and_shared() -> None:
    """Probes at the same time are one question, and so are probes in quick succession."""
    asked: list[int] = []

    async def count() -> None:
        asked.append(1)
        await asyncio.sleep(0)

    guarded = Health(checks={"db": count})(hello)
    await asyncio.gather(*(get("/health").run(guarded) for _ in range(50)))
    await get("/health").run(guarded)
    assert len(asked) == 1


async def test_a_bad_result_is_kept_for_a_second() -> None:
    """Recovery is seen soon; a good result lasts as long as was said."""
    clock, answers = FakeClock(), [False, True, False]
    runner = Runner(Check(lambda: answers.pop(0), ttl=5.0), clock)
    seen = []
    for wait in (0.0, 0.5, 0.6, 4.9, 0.2):
        clock.advance(wait)
        seen.append((await runner.result()).status.value)
    assert seen == ["warn", "warn", "pass", "pass", "warn"]


async def test_a_stuck_thread_is_asked_only_once() -> None:
    """It cannot be stopped, so it is left alone, and the answer does not wait for it."""
    release, asked = threading.Event(), []

    def block() -> None:
        asked.append(1)
        release.wait(timeout=20)

    guarded = Health(checks={"db": Check(block, timeout=0.05, ttl=0.0)})(hello)
    began = time.monotonic()
    bodies = [json.loads((await get("/health").run(guarded)).body) for _ in range(5)]
    assert bodies == [{"status": "warn"}] * 5
    assert time.monotonic() - began < 10
    assert len(asked) == 1
    release.set()


async def test_one_probe_that_leaves_does_not_spoil_the_others() -> None:
    """The run belongs to all who wait for it."""
    go = asyncio.Event()

    async def wait() -> None:
        await go.wait()

    guarded = Health(checks={"db": Check(wait, timeout=5.0)})(hello)
    tasks = [asyncio.create_task(get("/health").run(guarded)) for _ in range(3)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert [json.loads(each.body) for each in answers[1:]] == [{"status": "pass"}] * 2  # type: ignore[union-attr]


async def test_engines_are_asked_a_question(tmp_path: Any) -> None:
    """Sync and async; a database that cannot be opened warns."""
    engines = [
        (create_engine(f"sqlite:///{tmp_path}/a.db"), "pass"),
        (create_engine(f"sqlite:///{tmp_path}/nowhere/a.db"), "warn"),
    ]
    for engine, status in engines:
        _, body = await ask("/health", checks={"db": Check(engine, timeout=5.0)})
        assert body == {"status": status}
        engine.dispose()
    later = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/a.db")
    assert (await ask("/health", checks={"db": Check(later, timeout=5.0)}))[1] == {"status": "pass"}
    await later.dispose()


async def test_the_report_names_every_part_of_the_stack() -> None:
    """An open breaker is a warning, and no reason to be taken out of service."""
    breaker = CircuitBreaker("payments", consecutive_failures=1)
    guard = Guard(
        health=Health(access=everybody), concurrency=ConcurrencyLimit(3), breakers=[breaker]
    )
    guarded = guard(hello)
    before = json.loads((await get("/health").run(guarded)).body)
    with pytest.raises(ConnectionError):
        breaker.call(broken)
    after = json.loads((await get("/health").run(guarded)).body)
    assert (before["status"], after["status"]) == ("pass", "warn")
    assert after["checks"] == {
        "circuit:payments": {"status": "warn", "state": "open"},
        "concurrency:requests": {"status": "pass", "in_flight": 0, "limit": 3, "waiting": 0},
    }
    assert (await get("/readyz").run(guarded)).status == 200


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/health/"])
async def test_it_answers_outside_every_limit(path: str) -> None:
    """A client over its quota, and a stack at its limit, can still be probed."""
    guard = Guard(health=Health(), rate_limit=RateLimit("1/hour"), concurrency=ConcurrencyLimit(1))
    guarded = guard(hello)
    for _ in range(3):
        assert (await get(path).run(guarded)).status == 200
    assert (await get(path, method="HEAD").run(guarded)).status == 200
    assert (await get(path, method="POST").run(guarded)).status == 405


def session() -> Iterator[None]:
    """Be a dependency of FastAPI, which asks nothing until somebody goes through it."""
    yield


class Sessions:
    """Makes them, each time it is called."""

    def __call__(self) -> Iterator[None]:
        """Be a dependency as well."""
        yield


async def async_session(_: int) -> AsyncIterator[None]:
    """Be an async one."""
    yield


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"live": "live"}, "Health.live"),
        ({"ready": "/"}, "Health.ready"),
        ({"report": "/livez"}, "Health"),
        ({"checks": [fine]}, "Health.checks"),
        ({"checks": {"": fine}}, "Health.checks"),
        ({"checks": {"db": SECRET}}, "Check.check"),
        ({"checks": {"db": object()}}, "Check.check"),
        ({"checks": {"db": Check}}, "Check.check"),
        ({"checks": {"db": lambda session: None}}, "Check.check"),
        ({"checks": {"db": CircuitBreaker("a")}}, "Check.check"),
        ({"checks": {"db": sessionmaker()}}, "Check.check"),
        ({"checks": {"db": async_sessionmaker()}}, "Check.check"),
        ({"checks": {"db": scoped_session(sessionmaker())}}, "Check.check"),
        ({"checks": {"db": session}}, "Check.check"),
        ({"checks": {"db": partial(async_session, 1)}}, "Check.check"),
        ({"checks": {"db": Sessions()}}, "Check.check"),
        ({"checks": {"db": {"password": "hunter2"}}}, "Check.check"),
        ({"access": "short"}, "Health.access"),
    ],
)
def test_a_wrong_setting_is_named(settings: Any, field: str) -> None:
    """The field, the value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        Health(**settings)
    assert raised.value.field == field
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(("field", "value"), [("timeout", 0), ("timeout", None), ("ttl", -1)])
def test_times_are_seconds(field: str, value: Any) -> None:
    """A check has to end, and a result may be kept for no time at all."""
    with pytest.raises(ConfigurationError, match=rf"Check\.{field}"):
        Check(fine, **{field: value})


def test_whether_a_check_is_critical_is_said_plainly() -> None:
    """A word would count as True, "no" as well."""
    with pytest.raises(ConfigurationError, match=r"Check\.critical is 'no'"):
        Check(fine, critical="no")  # type: ignore[arg-type]


async def test_a_function_that_takes_too_long_fails_whoever_asks() -> None:
    """Its late answer is none, and nobody waits for it a second time."""
    clock = FakeClock()
    go = threading.Event()

    def block() -> None:
        go.wait(10)

    runner = Runner(Check(block, critical=True, timeout=0.5, ttl=60), clock)
    assert (await runner.result()).status is Status.FAIL
    clock.advance(2)
    began = time.perf_counter()
    assert (await runner.result()).status is Status.FAIL
    assert time.perf_counter() - began < 0.5 - EARLY
    go.set()
    await asyncio.sleep(0.05)
    clock.advance(2)
    runner = Runner(Check(lambda: clock.advance(1), critical=True, timeout=0.5), clock)
    assert (await runner.result()).output == "TimeoutError"
