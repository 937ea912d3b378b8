"""HTTP clients behind breakers, against a real server: what counts as what, and what is refused."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.abc import SocketAttribute, SocketStream

from asgi_guard import BreakerState, CircuitBreaker, CircuitOpen, ConfigurationError, Outcome
from asgi_guard.testing import FakeClock
from tests.downstream.callers import Caller, calling
from tests.downstream.conftest import COMBINED, LOOPS, breaker, counts
from tests.downstream.moody import Moody, Work
from tests.faults.proxy import FaultProxy
from tests.processes import HOST, until

AT_ONCE = 0.5  # seconds: what nobody is asked for comes within
CROWD = 30
STATUS_ERRORS = {"httpx": "HTTPStatusError", "aioht": "ClientResponseError"}


@pytest.fixture(params=COMBINED, ids="-".join)
def combined(request: pytest.FixtureRequest) -> Any:
    """Return a kind of client, and the loop it runs on."""
    return request.param


@pytest.fixture
def anyio_backend(combined: tuple[str, str]) -> Any:
    """Run on that loop."""
    return LOOPS[combined[1]]


@pytest.fixture
def kind(combined: tuple[str, str]) -> str:
    """Return the kind of client."""
    return combined[0]


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


@pytest.fixture
async def caller(kind: str, shop: CircuitBreaker) -> AsyncIterator[Caller]:
    """Return a client whose calls all go through that breaker."""
    async with calling(kind, shop, key=None) as caller:
        yield caller


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((200, 204, 400, 401, 404, 409, 429), (7, 0, 0, 0)),
        ((500, 503), (0, 2, 0, 0)),
        ((502, 504), (0, 2, 0, 0)),
        ((501, 505), (0, 0, 2, 0)),
    ],
    ids=str,
)
async def test_what_a_status_counts_as(
    caller: Caller,
    shop: CircuitBreaker,
    moody: Moody,
    statuses: tuple[int, ...],
    expected: tuple[int, ...],
) -> None:
    """What the caller did wrong is an answer; what the server cannot do is a failure."""
    for status in statuses:
        assert await caller.get(moody.work(status=status, pieces=0).url) == status
    assert counts(shop) == expected


async def test_refused_connections(
    caller: Caller, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """They trip it; then calls fail at once, as errors of the client, and the server hears none."""
    work = moody.work()
    await proxy.refuse()
    for _ in range(3):
        with pytest.raises(caller.errors) as failed:
            await caller.get(work.through(proxy.port))
        assert not isinstance(failed.value, CircuitOpen)
    await proxy.start()
    began = time.monotonic()
    with pytest.raises(caller.refused) as refused:
        await caller.get(work.through(proxy.port))
    assert time.monotonic() - began < AT_ONCE
    assert isinstance(refused.value, caller.errors)
    assert isinstance(refused.value, CircuitOpen)
    error: Any = refused.value
    assert (error.breaker, error.state, error.retry_after) == ("shop", "open", 5.0)
    assert str(error.request.url) == work.through(proxy.port)
    assert work.seen == 0
    assert counts(shop) == (0, 3, 0, 1)


async def test_a_body_that_breaks_off(
    caller: Caller, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """The call was good until then; it is a failure all the same."""
    begun = await caller.begin(moody.work(pieces=100, pause=0.1).through(proxy.port))
    assert begun.status == 200
    assert counts(shop) == (0, 0, 0, 0)
    await proxy.reset()
    with pytest.raises(caller.errors):
        await begun.read()
    await begun.close()
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_body_that_falls_silent(
    kind: str, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """A timeout while it is read is a failure."""
    async with calling(kind, shop, key=None, seconds=0.3) as caller:
        begun = await caller.begin(moody.work(pieces=100, pause=0.05).through(proxy.port))
        proxy.silence()
        with pytest.raises(caller.errors):
            await begun.read()
        await begun.close()
        proxy.heal()
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_server_that_falls_silent(
    kind: str, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """A timeout before the head is a failure."""
    proxy.silence()
    async with calling(kind, shop, key=None, seconds=0.2) as caller:
        with pytest.raises(caller.errors):
            await caller.get(moody.work().through(proxy.port))
    proxy.heal()
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_body_that_nobody_reads(caller: Caller, shop: CircuitBreaker, moody: Moody) -> None:
    """The head has said that the server is well."""
    begun = await caller.begin(moody.work(pieces=100, pause=0.05).url)
    await begun.close()
    assert counts(shop) == (1, 0, 0, 0)


async def test_a_body_that_is_read_to_its_end(
    caller: Caller, shop: CircuitBreaker, moody: Moody
) -> None:
    """It is a success, once."""
    begun = await caller.begin(moody.work(pieces=3, pause=0.02).url)
    await begun.read()
    await begun.close()
    assert counts(shop) == (1, 0, 0, 0)


async def test_failures_need_no_body(caller: Caller, shop: CircuitBreaker, moody: Moody) -> None:
    """A status that is a failure counts when it comes."""
    begun = await caller.begin(moody.work(status=500, pieces=100, pause=0.05).url)
    assert counts(shop) == (0, 1, 0, 0)
    await begun.close()
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_pool_that_is_full(kind: str, shop: CircuitBreaker, moody: Moody) -> None:
    """It is ours: whoever waits for it in vain says nothing about the server."""
    slow = moody.work(delay=0.6)
    async with (
        calling(kind, shop, key=None, pool=1, pool_seconds=0.2) as caller,
        anyio.create_task_group() as group,
    ):
        group.start_soon(caller.get, slow.url)
        await _until_seen(slow)
        with pytest.raises(caller.errors):
            await caller.get(slow.url)
        assert counts(shop) == (0, 0, 1, 0)
    assert counts(shop) == (1, 0, 1, 0)


@pytest.mark.parametrize("said", [b"who are you?\r\n\r\n", b""], ids=["garbage", "nothing"])
async def test_a_server_that_speaks_no_http(
    caller: Caller, shop: CircuitBreaker, said: bytes
) -> None:
    """It is a failure."""
    async with _saying(said) as port:
        with pytest.raises(caller.errors):
            await caller.get(f"http://{HOST}:{port}/")
    outcome = counts(shop)
    assert outcome[1] >= 1  # aiohttp itself asks a second time when it gets nothing
    assert (outcome[0], outcome[2], outcome[3]) == (0, 0, 0)


async def test_a_proxy_that_refuses(kind: str, shop: CircuitBreaker) -> None:
    """It is a failure, whatever its status: the server has said nothing."""
    refusal = b"HTTP/1.1 403 no\r\ncontent-length: 0\r\n\r\n"
    async with (
        _saying(refusal) as port,
        calling(kind, shop, key=None, proxy=f"http://{HOST}:{port}") as caller,
    ):
        with pytest.raises(caller.errors):
            await caller.get("https://shop.example/")
    assert counts(shop) == (0, 1, 0, 0)


async def test_slow_heads_trip(
    kind: str, clock: FakeClock, moody: Moody, proxy: FaultProxy
) -> None:
    """What counts is the time to the head, by the breaker's clock."""
    slow = breaker(clock, slow_call=1.0, min_calls=2)
    async with calling(kind, slow, key=None) as caller:
        work = moody.work(delay=0.1)
        for _ in range(2):
            async with anyio.create_task_group() as group:
                group.start_soon(caller.get, work.through(proxy.port))
                await _until_seen(work)
                clock.advance(1.5)
            work = moody.work(delay=0.1)
        assert slow.state is BreakerState.OPEN


async def test_long_bodies_are_not_slow(kind: str, clock: FakeClock, moody: Moody) -> None:
    """A long download of a server that answered at once says nothing against it."""
    slow = breaker(clock, slow_call=1.0, min_calls=1)
    async with calling(kind, slow, key=None) as caller:
        begun = await caller.begin(moody.work(pieces=3).url)
        clock.advance(60.0)
        await begun.read()
        await begun.close()
    assert slow.state is BreakerState.CLOSED
    assert counts(slow) == (1, 0, 0, 0)


async def test_a_server_that_asks_for_peace(
    caller: Caller, shop: CircuitBreaker, moody: Moody, clock: FakeClock
) -> None:
    """503 with Retry-After is a failure, and nobody asks before that time has passed."""
    work = moody.work(status=503, fields={"retry-after": "60"})
    assert await caller.get(work.url) == 503
    assert counts(shop) == (0, 1, 0, 0)
    with pytest.raises(CircuitOpen) as refused:
        await caller.get(work.url)
    assert refused.value.retry_after == 60.0
    clock.advance(60.0)
    work.mood(status=200)
    for _ in range(2):
        assert await caller.get(work.url) == 200
    assert shop.state is BreakerState.CLOSED
    assert work.seen == 3


async def test_a_server_that_throttles(
    caller: Caller, shop: CircuitBreaker, moody: Moody, clock: FakeClock
) -> None:
    """429 is a success, and opens for as long as it says; without a time it opens nothing."""
    assert await caller.get(moody.work(status=429).url) == 429
    assert shop.state is BreakerState.CLOSED
    sent = time.time()
    date = {"date": formatdate(sent, usegmt=True)}
    until = {"retry-after": formatdate(sent + 120, usegmt=True)}
    assert await caller.get(moody.work(status=429, fields=date | until).url) == 429
    assert counts(shop) == (2, 0, 0, 0)
    assert shop.retry_after is not None
    assert 118 <= shop.retry_after <= 121  # uvicorn has a date of its own


async def test_nobody_asks_for_more_peace_than_is_believed(
    kind: str, clock: FakeClock, moody: Moody
) -> None:
    """`retry_after_max` bounds it."""
    shop = breaker(clock, retry_after_max=7.0)
    async with calling(kind, shop, key=None) as caller:
        await caller.get(moody.work(status=429, fields={"retry-after": "9" * 5000}).url)
    assert shop.retry_after == 7.0


async def test_each_host_and_port_by_itself(
    kind: str, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """What one server does is not laid to another's charge."""
    work = moody.work()
    await proxy.refuse()
    async with calling(kind, shop) as caller:
        for _ in range(3):
            with pytest.raises(caller.errors):
                await caller.get(work.through(proxy.port))
        with pytest.raises(CircuitOpen) as refused:
            await caller.get(work.through(proxy.port))
        assert refused.value.breaker == f"shop[{HOST}:{proxy.port}]"
        assert await caller.get(work.url) == 200
    assert shop.snapshot().children == {BreakerState.OPEN: 1, BreakerState.CLOSED: 1}


async def test_keys_of_ones_own(kind: str, shop: CircuitBreaker, moody: Moody) -> None:
    """A function of the request; what is no string is refused, and nothing is sent."""
    work = moody.work(status=500)
    async with calling(kind, shop, key=lambda request: request.url.path) as caller:
        await caller.get(work.url)
    assert shop.for_key(work.path).snapshot().failure == 1
    async with calling(kind, shop, key=lambda request: None) as caller:
        with pytest.raises(TypeError, match="key function"):
            await caller.get(work.url)
    assert work.seen == 1


async def test_each_hop_of_a_redirect(
    kind: str, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy
) -> None:
    """It is a call of its own, to the host it goes to."""
    end = moody.work(status=500)
    start = moody.work(status=302, fields={"location": end.through(proxy.port)})
    async with calling(kind, shop) as caller:
        assert await caller.get(start.url) == 500
    assert counts(shop.for_key(f"{HOST}:{moody.port}")) == (1, 0, 0, 0)
    assert counts(shop.for_key(f"{HOST}:{proxy.port}")) == (0, 1, 0, 0)


async def test_classify_is_asked(kind: str, clock: FakeClock, moody: Moody) -> None:
    """It sees the response, and the error that its status would be."""
    asked: list[Any] = []

    def classify(error: BaseException | None, result: Any) -> Outcome | None:
        asked.append((error, result))
        return Outcome.FAILURE if error is None else Outcome.IGNORED

    shop = breaker(clock, classify=classify)
    async with calling(kind, shop, key=None) as caller:
        await caller.get(moody.work().url)
        await caller.get(moody.work(status=500).url)
    assert counts(shop) == (0, 1, 1, 0)
    assert [type(error).__name__ for error, _ in asked] == ["NoneType", STATUS_ERRORS[kind[:5]]]
    assert [getattr(each, "status_code", None) or each.status for _, each in asked] == [200, 500]


async def test_a_classify_function_that_fails(kind: str, clock: FakeClock, moody: Moody) -> None:
    """Its mistake hides no answer, and neither a connection nor the place of a trial is lost."""

    def classify(error: BaseException | None, result: Any) -> Outcome | None:
        raise KeyError

    shop = breaker(clock, classify=classify)
    shop.throttle(5.0)
    async with calling(kind, shop, key=None, pool=1, pool_seconds=0.3) as caller:
        for _ in range(3):
            clock.advance(60.0)
            assert await caller.get(moody.work(status=500, pieces=10, pause=0.02).url) == 500
    assert counts(shop) == (0, 3, 0, 0)


async def test_recovery_is_no_stampede(
    caller: Caller, shop: CircuitBreaker, moody: Moody, proxy: FaultProxy, clock: FakeClock
) -> None:
    """Of a crowd, one at a time is let to a server that comes back, until it has shown itself."""
    work = moody.work(delay=0.2)
    await proxy.refuse()
    for _ in range(3):
        with pytest.raises(caller.errors):
            await caller.get(work.through(proxy.port))
    await proxy.start()
    assert await _crowd(caller, work.through(proxy.port)) == 0
    clock.advance(5.0)
    for trials in (1, 2):
        assert await _crowd(caller, work.through(proxy.port)) == 1
        assert work.seen == trials
    assert work.most_at_once == 1
    assert shop.state is BreakerState.CLOSED
    work.mood(delay=0.0)
    assert await _crowd(caller, work.through(proxy.port)) == CROWD


async def test_what_cannot_be_a_breaker(kind: str) -> None:
    """It is said when the client is set up."""
    wrong: Any = "shop"
    with pytest.raises(ConfigurationError, match="a CircuitBreaker"):
        async with calling(kind, wrong):
            pass
    with pytest.raises(ConfigurationError, match="a plain function of a request"):
        async with calling(kind, CircuitBreaker("shop"), key="host"):
            pass


async def _crowd(caller: Caller, url: str) -> int:
    """Let many call at once; return how many were answered. The others are refused, and at once."""
    answered = 0

    async def call() -> None:
        nonlocal answered
        began = time.monotonic()
        try:
            assert await caller.get(url) == 200
        except CircuitOpen:
            assert time.monotonic() - began < AT_ONCE
        else:
            answered += 1

    async with anyio.create_task_group() as group:
        for _ in range(CROWD):
            group.start_soon(call)
    return answered


async def _until_seen(work: Work) -> None:
    await to_thread.run_sync(until, lambda: work.seen)


@asynccontextmanager
async def _saying(said: bytes) -> AsyncIterator[int]:
    async def answer(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            if said:
                await stream.send(said)

    listener = await anyio.create_tcp_listener(local_host=HOST)
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, answer)
        yield listener.extra(SocketAttribute.local_port)
        group.cancel_scope.cancel()
