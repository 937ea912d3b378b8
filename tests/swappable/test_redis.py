"""Redis over a swap: a connection is kept, or closed after the last request that may use it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event
from typing import Any

import pytest

from asgi_guard import Guard, RateLimit, Rule, Swappable
from asgi_guard.rate_limit.stores.redis import RedisStore
from tests.driver import connect, get, hello
from tests.stores.redis_server import RedisServer
from tests.swappable.swapping import NAME, Lobby, statuses, turns


def on(url: Any, count: int, **more: Any) -> Guard:
    """Return a guard with one rule, and time enough for an answer."""
    rule = Rule(f"{count}/hour", name=NAME, **more)
    return Guard(rate_limit=RateLimit(rule, store=url, store_timeout=5.0))


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that a server does in its own time."""
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - there is nobody to tell
            await asyncio.sleep(0.001)


def questions(server: RedisServer) -> int:
    """Return how often a server was asked."""
    return server.calls("evalsha") + server.calls("eval")


class Connections:
    """How many connections there are more than at first."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._before = 0
        self._before = self.count()

    def count(self) -> int:
        """Return that number."""
        with self._server.control() as control:
            return int(control.info("clients")["connected_clients"]) - self._before

    async def become(self, count: int) -> None:
        """Wait until there are as many."""
        await until(lambda: self.count() == count)


@asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    """Start an app up, and shut it down."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    running = asyncio.create_task(app({"type": "lifespan"}, messages.get, answers.put))
    messages.put_nowait({"type": "lifespan.startup"})
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    try:
        yield
    finally:
        messages.put_nowait({"type": "lifespan.shutdown"})
        assert (await answers.get())["type"] == "lifespan.shutdown.complete"
        await running


def living(app: Any) -> Any:
    """Return the app with a lifespan."""

    async def lives(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for moment in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{moment}.complete"})

    return lives


async def test_the_same_url_keeps_the_connection_and_the_counters(
    redis_server: RedisServer,
) -> None:
    """Twenty swaps with requests in flight, one connection, and exactly the quota."""
    connections, lobby = Connections(redis_server), Lobby()
    swappable = Swappable(on(redis_server.url, 3))
    app = swappable(living(lobby))
    async with lifespan(app):
        tasks, admitted = [], 0
        for number in range(20):
            limit = 3 + number // 4
            swappable.swap(on(redis_server.url, limit))
            tasks.append(asyncio.create_task(get().run(app)))
            admitted += admitted < limit
            refused = number + 1 - admitted
            await until(lambda: sum(task.done() for task in tasks) == refused)  # noqa: B023
            await until(lambda: lobby.inside == admitted)  # noqa: B023
        assert connections.count() == 1
        lobby.door.set()
        answers = [(await task).status for task in tasks]
        assert answers.count(200) == admitted == 7
    await connections.become(0)


@pytest.mark.parametrize("to", ["/1", None])
async def test_another_store_is_opened_and_the_old_one_closed_after_its_last_request(
    redis_server: RedisServer, to: str | None
) -> None:
    """What was charged for a request in flight is still given back."""
    connections, lobby = Connections(redis_server), Lobby()
    swappable = Swappable(on(redis_server.url, 2, count_when={401}))
    app = swappable(lobby)
    tasks = await lobby.enter(app, 2)
    await connections.become(1)
    await until(lambda: lobby.inside == 2)
    swappable.swap(on(redis_server.url + to, 2) if to else Guard())
    await turns()
    assert connections.count() == 1
    tasks[0].cancel()
    await turns()
    assert connections.count() == 1  # one is still inside
    lobby.door.set()
    assert (await tasks[1]).status == 200
    await connections.become(0)
    assert (await get().run(app)).status == 200
    await connections.become(1 if to else 0)
    swappable.swap(on(redis_server.url, 2))
    await connections.become(0)
    assert await statuses(app, 3) == [200, 200, 429]  # both were given back
    await app.aclose()
    await connections.become(0)


async def test_nobody_inside_means_closed_at_once(redis_server: RedisServer) -> None:
    """Also where the swap comes from a thread."""
    connections = Connections(redis_server)
    swappable = Swappable(on(redis_server.url, 2))
    app = swappable(hello)
    assert await statuses(app, 1) == [200]
    await connections.become(1)
    await asyncio.to_thread(swappable.swap, Guard())
    await connections.become(0)


async def test_an_open_websocket_keeps_its_store(redis_server: RedisServer) -> None:
    """Its messages are charged there until it ends."""
    connections = Connections(redis_server)
    settings = RateLimit(
        store=redis_server.url, store_timeout=5.0, messages=[Rule("2/hour", name="talk")]
    )

    async def listen(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] == "websocket.receive":
            scope["heard"] = scope.get("heard", 0) + 1

    swappable = Swappable(Guard(rate_limit=settings))
    socket = connect()
    socket.say({"type": "websocket.receive", "text": "a"})
    task = asyncio.create_task(socket.run(swappable(listen)))
    await until(lambda: "heard" in socket.scope)
    swappable.swap(Guard())
    await turns()
    for _ in range(2):
        socket.say({"type": "websocket.receive", "text": "a"})
    await task
    assert socket.scope["heard"] == 2
    assert socket.sent[-1]["code"] == 1008
    await connections.become(0)


async def test_the_end_of_the_app_closes_what_is_current_and_what_is_left(
    redis_server: RedisServer,
) -> None:
    """Whatever was there when it started up: nothing, here."""
    connections, lobby = Connections(redis_server), Lobby()
    swappable = Swappable(Guard())
    app = swappable(living(lobby))
    async with lifespan(app):
        swappable.swap(on(redis_server.url, 9))
        tasks = await lobby.enter(app)
        await connections.become(1)
        swappable.swap(on(f"{redis_server.url}/1", 9))
        tasks += await lobby.enter(app)
        await connections.become(2)
    await connections.become(0)
    lobby.door.set()
    for task in tasks:
        assert (await task).status == 200


async def test_leases_are_not_lost(redis_server: RedisServer) -> None:
    """What a worker has taken at once it goes on using, and gives back at the end."""
    swappable = Swappable(on(redis_server.url, 100, lease=10))
    app = swappable(hello)
    assert await statuses(app, 1) == [200]
    swappable.swap(on(redis_server.url, 90, lease=10))
    asked = questions(redis_server)
    assert await statuses(app, 5) == [200] * 5
    assert questions(redis_server) == asked
    swappable.swap(on(f"{redis_server.url}/1", 90))
    await turns()
    swappable.swap(Guard())
    await until(lambda: questions(redis_server) > asked)
    store = RedisStore(redis_server.url)
    fresh = Swappable(on(store, 100))(hello)
    exchange = await get().run(fresh)
    assert ";r=93;" in exchange.headers["ratelimit"]  # six were used, and this one
    await store.aclose()


async def test_what_is_known_of_a_store_goes_on(redis_server: RedisServer) -> None:
    """A store that is out is not asked again because a limit has changed."""
    swappable = Swappable(on("redis://127.0.0.1:1", 3))
    app = swappable(hello)
    assert await statuses(app, 2) == [200, 200]
    layer = app._stack._limit
    assert layer is not None
    (outage,) = layer.outages()
    swappable.swap(on("redis://127.0.0.1:1", 4))
    after = app._stack._limit
    assert after is not None
    assert after is not layer
    assert after.outages() == [outage]
    assert outage.is_on
    assert await statuses(app, 3) == [200, 200, 429]  # counted here, and go on being so
    swappable.swap(on(redis_server.url, 4))
    assert await statuses(app, 1) == [200]
    swappable.swap(on("redis://127.0.0.1:1", 4))  # which begins as if it were there
    assert await statuses(app, 1) == [429]  # by what is counted here
    await app.aclose()


async def test_each_event_loop_closes_its_own_connection(redis_server: RedisServer) -> None:
    """One in another thread, with a request in flight, when that has ended; the others at once."""
    connections, is_in, may_leave = Connections(redis_server), Event(), Event()

    async def stay(scope: Any, receive: Any, send: Any) -> None:
        is_in.set()
        await asyncio.to_thread(may_leave.wait, 20)
        await hello(scope, receive, send)

    async def by_path(scope: Any, receive: Any, send: Any) -> None:
        await (stay if scope["path"] == "/stay" else hello)(scope, receive, send)

    swappable = Swappable(on(redis_server.url, 9))
    app = swappable(by_path)

    async def elsewhere() -> int:
        status = (await get("/stay").run(app)).status
        await connections.become(0)
        return status

    assert await statuses(app, 1) == [200]
    await connections.become(1)
    other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await asyncio.to_thread(is_in.wait, 20)
    await connections.become(2)
    swappable.swap(Guard())
    await connections.become(1)
    may_leave.set()
    assert await other == 200


async def test_what_redis_has_admitted_counts_in_memory(redis_server: RedisServer) -> None:
    """Whoever leaves Redis for this process begins with what is known there."""
    swappable = Swappable(on(redis_server.url, 3))
    app = swappable(hello)
    assert await statuses(app, 2) == [200] * 2
    swappable.swap(on("memory://", 3))
    assert await statuses(app, 2) == [200, 429]
