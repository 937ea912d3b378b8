"""A guard is a frozen value; calling it with an app returns an app."""

import asyncio
import inspect
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from asgi_guard import ConcurrencyLimit, MemoryStore, Permits, RateLimit
from asgi_guard._asgi import ASGIGuard
from tests.contract.guards import REFUSERS
from tests.driver import get, hello


async def test_the_app_is_a_keyword(guard: ASGIGuard) -> None:
    """Litestar passes it so."""
    assert (await get().run(guard(app=hello))).body == b"hello"


def test_servers_see_asgi_3(guard: ASGIGuard) -> None:
    """Uvicorn takes a callable that is no coroutine function for ASGI 2."""
    guarded: Any = guard(hello)
    assert inspect.iscoroutinefunction(guarded) or inspect.iscoroutinefunction(guarded.__call__)


def test_a_guard_is_frozen(guard: ASGIGuard) -> None:
    """What has been checked stays as it was checked."""
    name = fields(guard)[0].name  # type: ignore[arg-type]
    with pytest.raises(FrozenInstanceError):
        setattr(guard, name, None)


async def test_wrapping_twice_serves_once(guard: ASGIGuard) -> None:
    """One start, one body, and every field of the response once."""
    exchange = await get().run(guard(guard(hello)))
    assert (exchange.status, exchange.body) == (200, b"hello")
    names = [name for name, _ in exchange.starts[0]["headers"]]
    assert len(names) == len(set(names))


async def test_a_guard_met_twice_acts_once(guard: ASGIGuard) -> None:
    """Installed as middleware and round the app, with something in between."""
    inner = guard(hello)

    async def between(scope: Any, receive: Any, send: Any) -> None:
        await inner(dict(scope), receive, send)

    exchange = await get().run(guard(between))
    names = [name for name, _ in exchange.starts[0]["headers"]]
    assert len(names) == len(set(names))


async def test_a_limit_met_twice_charges_once() -> None:
    """One store, one unit: the second meeting takes nothing."""
    guard = RateLimit("1/hour", store=MemoryStore())
    exchange = await get().run(guard(guard(hello)))
    assert exchange.status == 200
    capped = ConcurrencyLimit(Permits(1), max_waiting=0)
    assert (await get().run(capped(capped(hello)))).status == 200


async def test_two_apps_share_no_state() -> None:
    """One guard round two apps is two guarded apps."""
    guard = REFUSERS["RateLimit"].guard()
    first, second = guard(hello), guard(hello)
    assert (await get().run(first)).status == 200
    assert (await get().run(first)).status == 429
    assert (await get().run(second)).status == 200


def test_one_app_serves_several_event_loops(guard: ASGIGuard) -> None:
    """State belongs to the loop that runs, or to none."""
    guarded = guard(hello)
    for _ in range(2):
        assert asyncio.run(get().run(guarded)).status == 200


def test_its_description_fits_a_log_line(guard: ASGIGuard) -> None:
    """A stack can be printed to see what is in it."""
    assert type(guard).__name__ in repr(guard)
    assert "\n" not in repr(guard)
