"""The concurrency cap as a guard: who holds a permit, and until when."""

import asyncio
from typing import Any

import pytest

from asgi_guard import Breakers, ConcurrencyLimit, ConfigurationError, Permits
from tests.driver import Exchange, connect, get, hello, http_scope


class Held:
    """An app whose requests stay inside until they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Wait, then greet."""
        await self.go.wait()
        await hello(scope, receive, send)


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_burst_is_admitted_queued_and_refused() -> None:
    """Two inside, three waiting, the rest refused at once; then all who waited are served."""
    app = Held()
    permits = Permits(2, max_waiting=3, max_wait=30)
    guarded = ConcurrencyLimit(permits)(app)
    tasks = [asyncio.create_task(get().run(guarded)) for _ in range(8)]
    await settle()
    now = permits.snapshot()
    assert (now.in_flight, now.waiting, now.queue_full) == (2, 3, 3)
    app.go.set()
    answers = await asyncio.gather(*tasks)
    assert sorted(answer.status for answer in answers) == [200] * 5 + [503] * 3
    assert permits.snapshot().in_flight == 0


async def test_waiting_in_vain_is_refused() -> None:
    """After `max_wait`, with 503."""
    app = Held()
    permits = Permits(1, max_wait=0.01)
    guarded = ConcurrencyLimit(permits)(app)
    inside = asyncio.create_task(get().run(guarded))
    await settle()
    assert (await get().run(guarded)).status == 503
    assert permits.snapshot().timeout == 1
    app.go.set()
    assert (await inside).status == 200


LAST_MESSAGES: list[list[dict[str, Any]]] = [
    [{"type": "http.response.body", "body": b"x"}],
    [
        {"type": "http.response.body", "body": b"x", "more_body": True},
        {"type": "http.response.body", "body": b"", "more_body": False},
    ],
    [{"type": "http.response.pathsend", "path": "/dev/null"}],
    [{"type": "http.response.zerocopysend", "file": 0, "more_body": False}],
    [
        {"type": "http.response.body", "body": b"x"},
        {"type": "http.response.trailers", "headers": [], "more_trailers": False},
    ],
]


@pytest.mark.parametrize("messages", LAST_MESSAGES, ids=lambda m: m[-1]["type"].split(".")[-1])
async def test_a_permit_is_held_to_the_last_byte_and_no_longer(
    messages: list[dict[str, Any]],
) -> None:
    """Given back once the last message is out, before background work begins."""
    held: list[int] = []
    trailers = messages[-1]["type"].endswith("trailers")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": []}
        await send({**start, "trailers": trailers})
        for message in messages:
            held.append(permits.snapshot().in_flight)
            await send(message)
        held.append(permits.snapshot().in_flight)

    permits = Permits(1)
    guarded = ConcurrencyLimit(permits)(app)
    await get().run(guarded)
    assert held == [1] * len(messages) + [0]
    assert permits.snapshot().in_flight == 0


async def test_a_permit_comes_back_once_however_often_a_response_ends() -> None:
    """An app that ends its response twice does not make a permit out of nothing."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        await send({"type": "http.response.body", "body": b"again"})
        await send({"type": "http.response.pathsend", "path": "/dev/null"})

    permits = Permits(1)
    guarded = ConcurrencyLimit(permits)(app)
    for _ in range(3):
        await get().run(guarded)
    assert permits.snapshot().in_flight == 0


@pytest.mark.parametrize("ends", ["raises", "is cancelled"])
async def test_a_permit_comes_back_once_though_the_last_byte_is_still_on_its_way(
    ends: str,
) -> None:
    """The app ends while another task of it is in `send`."""
    drained, sending = asyncio.Event(), list[asyncio.Task[None]]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        last = {"type": "http.response.body", "body": b"x"}
        sending.append(asyncio.ensure_future(send(last)))
        await asyncio.sleep(0 if ends == "raises" else 60)
        raise ConnectionResetError

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await drained.wait()

    permits = Permits(1)
    guarded = ConcurrencyLimit(permits)(app)
    task = asyncio.ensure_future(guarded(http_scope(), get().receive, send))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert permits.snapshot().in_flight == 0
    drained.set()
    await asyncio.gather(*sending)
    assert permits.snapshot().in_flight == 0


async def test_a_permit_comes_back_once_from_a_500_that_was_sent_late() -> None:
    """The request is cancelled while a response that was kept back is on its way."""
    drained, permits = asyncio.Event(), Permits(1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})
        await asyncio.sleep(60)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            blocked.set()
            await drained.wait()

    blocked = asyncio.Event()
    guarded = ConcurrencyLimit(permits)(Breakers()(app))
    task = asyncio.ensure_future(guarded(http_scope(), get().receive, send))
    await asyncio.wait_for(blocked.wait(), 10)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    drained.set()
    await settle()
    assert permits.snapshot().in_flight == 0


async def test_the_last_byte_is_out_when_the_server_says_so() -> None:
    """A slow reader holds the server's `send`, and the permit with it."""
    drained = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await drained.wait()

    permits = Permits(1)
    guarded = ConcurrencyLimit(permits)(hello)
    task = asyncio.ensure_future(guarded(http_scope(), get().receive, send))
    await settle()
    assert permits.snapshot().in_flight == 1
    drained.set()
    await task
    assert permits.snapshot().in_flight == 0


@pytest.mark.parametrize("ends", ["raises", "is silent", "breaks off"])
async def test_a_permit_comes_back_however_the_app_ends(ends: str) -> None:
    """Once, whether or not there was a last byte."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if ends == "breaks off":
            await send({"type": "http.response.start", "status": 200, "headers": []})
        if ends == "raises":
            raise OSError

    permits = Permits(1, max_waiting=0)
    guarded = ConcurrencyLimit(permits)(app)
    for _ in range(3):
        try:
            exchange = await get().run(guarded)
        except OSError:
            assert ends == "raises"
        else:
            assert 503 not in [message.get("status") for message in exchange.sent]
    assert permits.snapshot().in_flight == 0


async def test_websockets_hold_no_permit() -> None:
    """They live too long to be counted with requests."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        assert permits.snapshot().in_flight == 0

    permits = Permits(1)
    guarded = ConcurrencyLimit(permits)(app)
    await connect().run(guarded)


async def test_a_cap_for_a_path_leaves_others_alone() -> None:
    """Only what it names is counted."""
    app = Held()
    guarded = ConcurrencyLimit(1, path="/reports/*", methods={"GET"}, max_waiting=0)(app)
    inside = [asyncio.create_task(get("/reports/1").run(guarded))]
    inside += [asyncio.create_task(get("/other").run(guarded)) for _ in range(3)]
    inside += [asyncio.create_task(get("/reports/2", method="POST").run(guarded))]
    await settle()
    assert (await get("/reports").run(guarded)).status == 503
    app.go.set()
    assert [each.status for each in await asyncio.gather(*inside)] == [200] * 5


async def test_two_apps_share_permits_that_are_given_to_both() -> None:
    """Explicitly, by passing the same object."""
    app, permits = Held(), Permits(1, max_waiting=0)
    first, second = ConcurrencyLimit(permits)(app), ConcurrencyLimit(permits)(app)
    inside = asyncio.create_task(get().run(first))
    await settle()
    assert (await get().run(second)).status == 503
    app.go.set()
    assert (await inside).status == 200


async def test_a_refused_client_that_sent_a_body_is_answered() -> None:
    """Without reading what it sent."""
    app = Held()
    guarded = ConcurrencyLimit(1, max_waiting=0)(app)
    inside = asyncio.create_task(get().run(guarded))
    await settle()
    refused = await Exchange(http_scope(method="POST")).run(guarded)
    assert refused.status == 503
    app.go.set()
    await inside


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"limit": 0}, "ConcurrencyLimit.limit"),
        ({"limit": -5}, "ConcurrencyLimit.limit"),
        ({"limit": "64"}, "ConcurrencyLimit.limit"),
        ({"limit": 10**400}, "ConcurrencyLimit.limit"),
        ({"limit": 1, "name": ""}, "ConcurrencyLimit.name"),
        ({"limit": 1, "path": "x"}, "ConcurrencyLimit.path"),
        ({"limit": 1, "methods": "GET"}, "ConcurrencyLimit.methods"),
        ({"limit": 1, "max_waiting": -1}, "ConcurrencyLimit.max_waiting"),
        ({"limit": 1, "max_wait": None}, "ConcurrencyLimit.max_wait"),
    ],
)
def test_a_wrong_setting_is_named(arguments: dict[str, Any], field: str) -> None:
    """The field, the value and the range."""
    with pytest.raises(ConfigurationError) as raised:
        ConcurrencyLimit(**arguments)
    assert raised.value.field == field
