"""Lost connections are dialled again: before a real server, killed and restarted."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from asgi_guard import (
    BreakerState,
    CircuitBreaker,
    ConfigurationError,
    ReconnectStopped,
    reconnecting,
)
from tests.downstream.sockets import SocketServer
from tests.processes import HOST, Children, free_port

CLIENTS = 20
UPTIME = 0.3  # seconds
AT_ONCE = 0.5  # seconds: no server is asked
QUICK: dict[str, Any] = {"backoff": 0.05, "backoff_max": 0.2, "min_uptime": UPTIME}


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Connections end in other ways on other loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture(scope="module")
def server(children: Children) -> Iterator[SocketServer]:
    """Return the server of all tests that do not kill it."""
    with httpx.Client(trust_env=False, timeout=20) as http:
        yield SocketServer(children, http)


@pytest.fixture
def mortal_server(children: Children, http: httpx.Client) -> Iterator[SocketServer]:
    """Return a server of the test's own."""
    server = SocketServer(children, http)
    yield server
    server.child.stop()


def breaker(**more: Any) -> CircuitBreaker:
    """Return one that trips on three failures, and recovers on one success."""
    settings = {"consecutive_failures": 3, "open_for": 0.4, "recover_after": 1, "jitter": 0.0}
    return CircuitBreaker("feed", **{**settings, **more})


def sockets(url: str, guard: CircuitBreaker, **more: Any) -> AsyncGenerator[ClientConnection, None]:
    """Return the connections to a URL, quick ones."""
    return reconnecting(lambda: connect(url, proxy=None), guard, **{**QUICK, **more})


async def echo(socket: ClientConnection) -> bool:
    """Tell whether the connection is alive."""
    try:
        await socket.send("there?")
        return await socket.recv() == "there?"
    except ConnectionClosed:
        return False


async def follow(
    connections: AsyncGenerator[ClientConnection, None], seen: list[ClientConnection] | None = None
) -> None:
    """Keep each connection until it is closed."""
    async for socket in connections:
        if seen is not None:
            seen.append(socket)
        await socket.wait_closed()


async def until(true: Callable[[], object], within: float = 20.0) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 - what is asked is no event
            await asyncio.sleep(0.01)


async def test_a_killed_server_is_found_again_without_a_stampede(
    mortal_server: SocketServer,
) -> None:
    """While it is gone few dial; when it is back one does, and the others follow its verdict."""
    server, guard, alive, dials = mortal_server, breaker(), set[int](), 0

    def dial() -> connect:
        nonlocal dials
        dials += 1
        return connect(server.url("hold"), proxy=None)

    async def live(number: int) -> None:
        every = reconnecting(dial, guard, backoff=0.5, min_uptime=UPTIME)
        async with aclosing(every) as connections:
            async for socket in connections:
                while await echo(socket):
                    alive.add(number)
                    await asyncio.sleep(0.02)
                alive.discard(number)

    clients = [asyncio.create_task(live(number)) for number in range(CLIENTS)]
    try:
        await until(lambda: len(alive) == CLIENTS)
        await asyncio.sleep(UPTIME + 0.1)
        assert guard.snapshot().success == CLIENTS
        server.kill()
        await until(lambda: guard.state is not BreakerState.CLOSED)
        dials = 0
        await asyncio.sleep(2.0)
        assert not alive
        assert dials <= 10, "trials alone, and what was under way"
        began = time.monotonic()
        assert guard.try_acquire() is None or guard.state is BreakerState.HALF_OPEN
        assert time.monotonic() - began < AT_ONCE
        await asyncio.to_thread(server.restart)
        await until(lambda: server.dials("hold") > 0)
        assert server.dials("hold") == 1, "the others wait for its verdict"
        await until(lambda: len(alive) == CLIENTS)
        assert server.dials("hold") <= CLIENTS + 2
        assert server.most_at_once() <= CLIENTS * 3 // 4
        assert guard.state is BreakerState.CLOSED
    finally:
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)


async def test_a_server_that_accepts_and_drops_trips(server: SocketServer) -> None:
    """An open connection is no success before it has been open for a while."""
    guard = breaker(open_for=60.0)
    async with aclosing(sockets(server.url("drop"), guard)) as connections:
        with suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                async for socket in connections:
                    await socket.wait_closed()
    assert guard.state is BreakerState.OPEN
    assert (guard.snapshot().failure, guard.snapshot().success) == (3, 0)


@pytest.mark.parametrize(("code", "failures"), [(1000, 0), (1001, 0), (4000, 0), (1011, 3)])
async def test_close_codes_are_judged(server: SocketServer, code: int, failures: int) -> None:
    """A goodbye is none of the breaker's business; an error of the server is."""
    guard = breaker(consecutive_failures=5)
    seen: list[ClientConnection] = []
    with pytest.raises(ReconnectStopped, match=f"3 dials, the last: close code {code}") as stopped:
        await follow(sockets(server.url(f"close/{code}"), guard, max_attempts=3), seen)
    assert stopped.value.code == code
    assert len(seen) == 3
    assert guard.snapshot().failure == failures
    assert guard.snapshot().ignored == 3 - failures


@pytest.mark.parametrize("path", ["status/401", "status/403", "status/404", "close/1008"])
async def test_what_is_final_stops(server: SocketServer, path: str) -> None:
    """At the first dial, with an error that says what it was; the server is in good health."""
    guard = breaker(consecutive_failures=1)
    kind, _, code = path.partition("/")
    before = server.dials(kind)
    with pytest.raises(ReconnectStopped, match=f"feed: .*{code} is final") as stopped:
        await follow(sockets(server.url(path), guard))
    assert stopped.value.code == int(code)
    assert isinstance(stopped.value.__cause__, InvalidStatus if kind == "status" else type(None))
    assert server.dials(kind) == before + 1
    assert guard.state is BreakerState.CLOSED


async def test_what_is_final_is_the_users_choice(server: SocketServer) -> None:
    """Nothing is, or another code."""
    with pytest.raises(ReconnectStopped, match="2 dials"):
        await follow(sockets(server.url("status/404"), breaker(), fatal=(), max_attempts=2))
    with pytest.raises(ReconnectStopped, match="4001 is final"):
        await follow(sockets(server.url("close/4001"), breaker(), fatal={4001}))


@pytest.mark.parametrize(("status", "failures"), [(503, 1), (429, 0)])
async def test_retry_after_is_obeyed(server: SocketServer, status: int, failures: int) -> None:
    """By all clients of the breaker, whatever the status says of the server's health."""
    guard = breaker()
    dials: list[float] = []

    def dial() -> connect:
        dials.append(time.monotonic())
        return connect(server.url(f"status/{status}/1"), proxy=None)

    with pytest.raises(ReconnectStopped):
        await follow(reconnecting(dial, guard, **QUICK, max_attempts=2))
    assert dials[1] - dials[0] >= 1.0
    assert guard.snapshot().transitions[BreakerState.CLOSED, BreakerState.OPEN] == 1
    assert guard.snapshot().failure == 2 * failures


async def test_a_connection_that_lasts_begins_the_back_off_anew(server: SocketServer) -> None:
    """Two that do not, one that does, and two more are not three in a row."""
    paths = iter(["drop", "close/1000", "hold", "drop", "close/1000", "status/503"])
    guard = breaker(consecutive_failures=9)
    seen = []

    async def live() -> None:
        async for socket in reconnecting(
            lambda: connect(server.url(next(paths)), proxy=None), guard, **QUICK, max_attempts=3
        ):
            seen.append(socket)
            with suppress(TimeoutError):
                await asyncio.wait_for(socket.wait_closed(), UPTIME + 0.2)

    with pytest.raises(ReconnectStopped, match="3 dials, the last: status 503"):
        await live()
    assert len(seen) == 5
    assert (guard.snapshot().success, guard.snapshot().failure) == (1, 3)


async def test_a_cancelled_dial_gives_its_trial_back(server: SocketServer) -> None:
    """Whether it was being made, or had not lasted yet."""
    guard = breaker(open_for=0.05, trial_lease=60.0)

    class Stuck:
        async def __aenter__(self) -> object:
            return await asyncio.Event().wait()

        async def __aexit__(self, *error: object) -> None:
            pass

    async def dial() -> None:
        await anext(reconnecting(partial(Stuck), guard))

    async def hold() -> None:
        async with aclosing(sockets(server.url("hold"), guard, min_uptime=60.0)) as connections:
            await follow(connections)

    for cancelled in (dial, hold):
        guard.throttle(0.05)
        await until(lambda: guard.state is BreakerState.HALF_OPEN)
        task = asyncio.create_task(cancelled())
        await until(lambda: guard.retry_after)  # the trial is out
        await asyncio.sleep(0.1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        trial = guard.try_acquire()
        assert trial is not None
        trial.failure()


async def test_leaving_the_loop_closes_the_connection(server: SocketServer) -> None:
    """Soon after, or at once where the generator is closed."""
    guard = breaker()
    async for socket in sockets(server.url("hold"), guard):
        assert await echo(socket)
        break
    await asyncio.wait_for(socket.wait_closed(), 5)
    async with aclosing(sockets(server.url("hold"), guard)) as connections:
        socket = await anext(connections)
    assert socket.close_code == 1000
    assert guard.snapshot().ignored == 2


async def test_mistakes_are_raised(server: SocketServer) -> None:
    """What the breaker ignores, and what the function itself raises, is not dialled again."""
    guard = breaker(ignore=(InvalidStatus, OSError), consecutive_failures=1)
    with pytest.raises(ConnectionRefusedError):
        await follow(sockets(f"ws://{HOST}:{free_port()}/", guard))

    def wrong() -> Any:
        raise KeyError("no such setting")

    with pytest.raises(KeyError):
        await follow(reconnecting(wrong, guard))
    assert guard.snapshot().failure == 0
    assert guard.state is BreakerState.CLOSED


@pytest.mark.parametrize(
    "wrong",
    [
        {"backoff": 0},
        {"backoff": 2.0, "backoff_max": 1.0},
        {"min_uptime": 0},
        {"max_attempts": 0},
        {"fatal": 1008},
        {"fatal": {"1008"}},
    ],
)
def test_wrong_settings_are_refused(wrong: Any) -> None:
    """At once, and not from the loop."""
    with pytest.raises(ConfigurationError, match=r"reconnecting\."):
        reconnecting(lambda: connect("ws://feed"), breaker(), **wrong)


def test_what_is_no_function_and_no_breaker_is_refused() -> None:
    """Such as a URL, or a function that has to be awaited."""

    async def later() -> None: ...

    for connects in ("ws://feed", later, lambda url: None):
        with pytest.raises(ConfigurationError, match=r"reconnecting\.connect"):
            reconnecting(connects, breaker())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"reconnecting\.breaker"):
        reconnecting(lambda: connect("ws://feed"), "feed")  # type: ignore[arg-type]
