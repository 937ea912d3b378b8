"""Caps over a swap: who is in flight counts towards the limit of the new guard."""

import asyncio

import pytest

from asgi_guard import ConcurrencyLimit, Guard, Permits, Swappable
from tests.driver import get, hello
from tests.swappable.swapping import Lobby, statuses, turns


def capped(limit: int, name: str | None = None, max_waiting: int = 0) -> Guard:
    """Return a guard with one cap."""
    cap = ConcurrencyLimit(limit, name=name, max_waiting=max_waiting, max_wait=60.0)
    return Guard(concurrency=cap)


async def test_those_in_flight_count_towards_a_higher_limit() -> None:
    """Two are inside: of three permits one is left."""
    lobby, swappable = Lobby(), Swappable(capped(2))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 2)
    swappable.swap(capped(3))
    tasks += await lobby.enter(app, 1)
    assert lobby.inside == 3
    assert (await get().run(app)).status == 503
    lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 3
    assert await statuses(app, 1) == [200]


async def test_a_lower_limit_throws_nobody_out() -> None:
    """It holds once enough have left."""
    lobby, swappable = Lobby(), Swappable(capped(3))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 3)
    swappable.swap(capped(1))
    for number in range(2):
        assert (await get().run(app)).status == 503
        tasks[number].cancel()
        await turns()
    assert (await get().run(app)).status == 503  # the third is still inside
    lobby.door.set()
    assert (await tasks[2]).status == 200
    assert await statuses(app, 2) == [200, 200]


async def test_a_higher_limit_lets_in_who_waits() -> None:
    """At once, and in order."""
    lobby, swappable = Lobby(), Swappable(capped(1, max_waiting=10))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 5)
    assert lobby.inside == 1
    swappable.swap(capped(3, max_waiting=10))
    await turns()
    assert lobby.inside == 3
    lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 5


async def test_who_waits_where_the_cap_is_gone_still_gets_in() -> None:
    """In turn, when those before have left; who comes now meets no cap."""
    lobby, swappable = Lobby(), Swappable(capped(1, max_waiting=10))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 2)
    swappable.swap(Guard())
    tasks += await lobby.enter(app, 3)
    assert lobby.inside == 4
    lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 5


async def test_a_cap_of_another_name_counts_anew() -> None:
    """As does one with permits that the user brings."""
    lobby, swappable = Lobby(), Swappable(capped(1))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 1)
    swappable.swap(capped(1, name="other"))
    tasks += await lobby.enter(app, 1)
    permits = Permits(1)
    swappable.swap(Guard(concurrency=ConcurrencyLimit(permits, name="other")))
    tasks += await lobby.enter(app, 1)
    assert (lobby.inside, permits.snapshot().in_flight) == (3, 1)
    swappable.swap(capped(1, name="other"))  # whose one is still inside
    assert (await get().run(app)).status == 503
    swappable.swap(capped(1))  # a name from before
    assert (await get().run(app)).status == 503
    lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 3
    assert permits.snapshot().in_flight == 0


async def test_two_apps_have_their_own_permits() -> None:
    """Before a swap and after it."""
    swappable = Swappable(capped(1))
    lobbies = Lobby(), Lobby()
    apps = [swappable(lobby) for lobby in lobbies]
    tasks = [*await lobbies[0].enter(apps[0]), *await lobbies[1].enter(apps[1])]
    swappable.swap(capped(2))
    for lobby, app in zip(lobbies, apps, strict=True):
        tasks += await lobby.enter(app)
        assert lobby.inside == 2
        lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 4


@pytest.mark.parametrize("limit", [1, 4])
async def test_a_swap_in_a_thread_wakes_who_waits_in_the_loop(limit: int) -> None:
    """A future belongs to its loop."""
    lobby, swappable = Lobby(), Swappable(capped(2, max_waiting=10))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 4)
    assert lobby.inside == 2
    await asyncio.to_thread(swappable.swap, capped(limit, max_waiting=10))
    await turns()
    assert lobby.inside == max(2, limit)
    lobby.door.set()
    assert [(await task).status for task in tasks] == [200] * 4
    assert (await get().run(swappable(hello))).status == 200
