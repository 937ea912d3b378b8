"""Limits on the messages of websockets: which get through, and what becomes of the others."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from asgi_guard import (
    CircuitBreaker,
    CircuitOpen,
    ConfigurationError,
    Guard,
    MemoryStore,
    Metrics,
    RateLimit,
    Rule,
    combine,
    connection,
    path,
)
from asgi_guard.exchange import Exchange as Handled
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.shell import Shell
from asgi_guard.testing import FakeClock
from tests.driver import Exchange, connect, get, websocket_scope
from tests.faults.proxy import FaultProxy
from tests.rate_limit.limiting import Limited
from tests.stores.redis_server import RedisServer, RedisServers

GONE = {"type": "websocket.disconnect", "code": 1001}
CLOSE = "websocket.close"


def said(*texts: str) -> list[dict[str, Any]]:
    """Return messages of a client."""
    return [{"type": "websocket.receive", "text": text} for text in texts]


def talk(*texts: str, where: str = "/ws", **more: Any) -> Exchange:
    """Return a websocket whose client says something and leaves."""
    messages = [{"type": "websocket.connect"}, *said(*texts), GONE]
    return Exchange(websocket_scope(where, **more), messages)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes, and say at the end what ended it: `ended` in the state."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    scope["state"]["ended"] = message


class Talking:
    """The echo app behind rules, on a clock that stands still."""

    def __init__(self, *rules: Rule | str, store: Any = None, app: Any = echo, **more: Any) -> None:
        self.clock = FakeClock(0.0)
        settings = RateLimit(
            *rules, store=MemoryStore(clock=self.clock) if store is None else store, **more
        )
        self.layer = RateLimitLayer(settings)
        self.app = Shell(settings, app, [self.layer])

    async def echoed(self, *texts: str, **more: Any) -> list[str]:
        """Open a websocket, say this, and leave; return what came back."""
        return texts_of(await talk(*texts, **more).run(self.app))

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Return for each rule: allowed, denied, exempt."""
        return {
            each.rule: (each.allowed, each.denied, each.exempt) for each in self.layer.snapshot()
        }


def texts_of(exchange: Exchange) -> list[str]:
    """Return the texts that were sent."""
    return [each["text"] for each in exchange.sent if each["type"] == "websocket.send"]


def closes(exchange: Exchange) -> list[dict[str, Any]]:
    """Return the closes that were sent."""
    return [dict(each) for each in exchange.sent if each["type"] == CLOSE]


async def test_a_connection_over_quota_is_closed() -> None:
    """The app is told by a disconnect, the client by a close, both with 1008 and once."""
    talking = Talking(messages=["2/minute"])
    exchange = await talk("a", "b", "c", "d").run(talking.app)
    assert texts_of(exchange) == ["a", "b"]
    reason = 'Quota "2/minute messages" is used up.'
    assert closes(exchange) == [{"type": CLOSE, "code": 1008, "reason": reason}]
    ended = {"type": "websocket.disconnect", "code": 1008, "reason": reason}
    assert exchange.scope["state"]["ended"] == ended
    assert talking.counts() == {"2/minute messages": (2, 1, 0)}


async def test_each_connection_has_a_quota_of_its_own() -> None:
    """One client may have several, and each begins with a whole quota."""
    talking = Talking(messages=["2/minute"])
    for _ in range(3):
        assert await talking.echoed("a", "b", "c") == ["a", "b"]


async def test_a_key_holds_over_connections() -> None:
    """A rule with a key of its own is charged by it."""
    by_path = Rule("3/minute", key=path)
    talking = Talking(messages=["2/minute", by_path])
    assert await talking.echoed("a", "b") == ["a", "b"]
    assert await talking.echoed("c", "d") == ["c"]
    assert await talking.echoed("e", where="/other") == ["e"]


async def test_the_connection_can_be_a_part_of_a_key() -> None:
    """And numbers no two connections alike."""
    talking = Talking(messages=[Rule("1/minute", key=combine(connection, path))])
    assert await talking.echoed("a", "b") == ["a"]
    assert await talking.echoed("a", "b") == ["a"]


async def test_the_rules_of_a_message_are_charged_together_or_not_at_all() -> None:
    """What the tight rule refuses takes nothing from the wide one."""
    wide = Rule("4/minute", name="wide", key=path)
    talking = Talking(
        messages=[wide, Rule("1/minute", name="tight", key=connection)], on_excess="drop"
    )
    assert await talking.echoed(*"abcd") == ["a"]
    assert [await talking.echoed("x") for _ in range(4)] == [["x"], ["x"], ["x"], []]
    assert talking.counts() == {"wide": (4, 1, 0), "tight": (4, 3, 0)}


async def test_handshakes_and_messages_are_charged_apart() -> None:
    """A handshake is no message, and the same notation makes two rules."""
    talking = Talking("2/minute", messages=["2/minute"])
    assert await talking.echoed("a", "b", "c") == ["a", "b"]
    assert await talking.echoed("a") == ["a"]
    assert (await talk("a").run(talking.app)).status == 429
    assert talking.counts() == {"2/minute": (2, 1, 0), "2/minute messages": (3, 1, 0)}


async def test_a_rule_for_a_path_leaves_other_sockets_alone() -> None:
    """As for requests; so do exemptions, of the rule and of the guard."""
    rule = Rule("1/minute", path="/ws/*", exempt=["/ws/free"])
    talking = Talking(messages=[rule], exempt=["/ws/open"], on_excess="drop")
    for where in ("/other", "/ws/free", "/ws/open"):
        assert await talking.echoed("a", "b", where=where) == ["a", "b"]
    assert await talking.echoed("a", "b", where="/ws/chat") == ["a"]
    assert talking.counts() == {"1/minute /ws/* messages": (1, 1, 4)}


async def test_messages_alone_leave_requests_alone() -> None:
    """A guard with rules for messages only refuses nobody else."""
    limited = Limited(messages=["1/hour"])
    exchanges = [await get().run(limited.app) for _ in range(3)]
    assert [each.status for each in exchanges] == [200] * 3
    assert "ratelimit" not in exchanges[0].headers


async def test_without_rules_for_messages_nothing_stands_between() -> None:
    """The app reads from the server itself; and through the guard where there are some."""
    for messages in ([], ["1/minute"]):
        socket = connect()
        exchange = Handled(socket.scope, socket.receive, socket.send, keeps_500=False)
        assert Talking("9/minute", messages=messages).layer.admit_socket(exchange) is None
        assert (exchange.receive == socket.receive) is not bool(messages)


async def test_messages_wait_for_a_handshake_that_is_awaited() -> None:
    """Where a rule asks somebody, they are limited as well once it has answered."""

    async def account(scope: Any) -> str:
        await asyncio.sleep(0)
        return "ann"

    talking = Talking(Rule("1/minute", key=account), messages=["1/minute"])
    assert await talking.echoed("a", "b") == ["a"]
    assert (await talk("a").run(talking.app)).status == 429
    assert talking.counts() == {"1/minute": (1, 1, 0), "1/minute messages": (1, 1, 0)}


async def test_a_dropped_message_is_not_delivered() -> None:
    """The next one that is admitted is, and nothing is closed."""
    talking = Talking(messages=["1/minute"], on_excess="drop")
    exchange = Exchange(websocket_scope(), [{"type": "websocket.connect"}, *said("a", "b")])
    running = asyncio.create_task(exchange.run(talking.app))
    await settle(lambda: talking.counts()["1/minute messages"] == (1, 1, 0))
    talking.clock.advance(120)
    for message in (*said("c"), GONE):
        exchange.say(message)
    await running
    assert texts_of(exchange) == ["a", "c"]
    assert closes(exchange) == []
    assert exchange.scope["state"]["ended"] == GONE


async def test_a_client_that_floods_does_not_keep_the_loop() -> None:
    """Dropping lets others run, also where the server has all messages at hand."""
    talking = Talking(messages=["1/minute"], on_excess="drop")
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    other = asyncio.create_task(others())
    await talking.echoed(*"abcdefghij")
    other.cancel()
    assert turns >= 9


async def settle(is_so: Callable[[], bool]) -> None:
    """Let the loop go round until something is so."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return how long messages were delayed; their clock moves on instead of waiting."""
    slept: list[float] = []

    async def nap(seconds: float) -> None:
        slept.append(seconds)
        Delayed.latest.clock.advance(seconds)

    monkeypatch.setattr("asgi_guard.rate_limit.messages.sleep", nap)
    return slept


class Delayed(Talking):
    """The echo app behind rules that delay."""

    latest: "Delayed"

    def __init__(self, *messages: Rule | str, **more: Any) -> None:
        super().__init__(messages=messages, on_excess="delay", **more)
        Delayed.latest = self


async def test_a_delayed_message_is_delivered_once_it_is_admitted(naps: list[float]) -> None:
    """In order, after the time that the rules say."""
    delayed = Delayed(Rule("1/second", burst=2))
    assert await delayed.echoed(*"abcde") == list("abcde")
    assert naps == pytest.approx([1.0, 1.0, 1.0], abs=1e-5)


async def test_nobody_sleeps_longer_than_a_minute(naps: list[float]) -> None:
    """And then asks again: what is told may have changed."""
    delayed = Delayed(Rule("1/hour", burst=1))
    assert await delayed.echoed("a", "b") == ["a", "b"]
    assert max(naps) == 60
    assert sum(naps) == pytest.approx(3600, abs=0.01)


async def test_nobody_asks_again_at_once(naps: list[float]) -> None:
    """However soon a unit comes: a crowd of messages must not keep the loop to itself."""
    delayed = Delayed(Rule("1000000/second", burst=1))
    assert await delayed.echoed("a", "b", "c") == ["a", "b", "c"]
    assert naps == [0.001, 0.001]


async def test_what_can_never_be_admitted_closes(naps: list[float]) -> None:
    """Waiting would not help."""
    delayed = Delayed(Rule("5/hour", cost=6))
    exchange = await talk("a").run(delayed.app)
    assert texts_of(exchange) == []
    assert [each["code"] for each in closes(exchange)] == [1008]
    assert naps == []


async def test_who_gives_up_waiting_loses_no_message() -> None:
    """A timeout round a receive is common; the message comes with the next one."""
    seen: list[Any] = []

    async def impatient(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        seen.append(await receive())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.01)
        delayed.clock.advance(7200)
        seen.extend([await receive(), await receive()])

    delayed = Delayed("1/hour", app=impatient)
    await talk("a", "b").run(delayed.app)
    assert seen == [*said("a", "b"), GONE]


async def test_an_app_that_goes_on_sending_is_told_that_nobody_listens() -> None:
    """By the OSError of servers; its own close is dropped, and reading gives the same end."""
    told: list[Any] = []

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        told.extend([await receive(), await receive(), await receive()])
        with pytest.raises(OSError, match="too many messages"):
            await send({"type": "websocket.send", "text": "hello?"})
        await send({"type": CLOSE, "code": 1000})

    talking = Talking(messages=["1/minute"], app=deaf)
    exchange = await talk("a", "b", "c").run(talking.app)
    assert [each["type"] for each in told[1:]] == ["websocket.disconnect"] * 2
    assert told[1] == told[2]
    assert [each["code"] for each in closes(exchange)] == [1008]
    assert texts_of(exchange) == []


async def test_what_the_app_has_closed_is_not_closed_again() -> None:
    """The app reads on after its own close, and a message was on its way."""

    async def closing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": CLOSE, "code": 1000})
        assert (await receive())["code"] == 1008

    talking = Talking(messages=["1/minute"], app=closing)
    exchange = await talk("a", "b").run(talking.app)
    assert [each["code"] for each in closes(exchange)] == [1000]


async def test_a_client_that_is_gone_cannot_be_told() -> None:
    """The app is, and no error comes of it."""

    class Gone(Exchange):
        async def send(self, message: Any) -> None:
            if message["type"] == CLOSE:
                raise OSError
            await super().send(message)

    talking = Talking(messages=["1/minute"])
    exchange = await Gone(talk().scope, [{"type": "websocket.connect"}, *said("a", "b")]).run(
        talking.app
    )
    assert exchange.scope["state"]["ended"]["code"] == 1008


@pytest.mark.parametrize("where", ["outside", "inside"])
async def test_nested_guards_close_once(where: str) -> None:
    """Whichever of them refuses, and breakers read along."""

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        raise CircuitOpen("circuit 'a' is not closed", 1.0, "a")

    tight, wide = RateLimit(messages=["1/minute"]), RateLimit(messages=["9/minute"])
    outer, inner = (tight, wide) if where == "outside" else (wide, tight)
    app = Guard(rate_limit=outer)(Guard(rate_limit=inner, breakers=[CircuitBreaker("a")])(fails))
    exchange = talk("a", "b")
    with pytest.raises(CircuitOpen):  # the client is told already
        await exchange.run(app)
    assert texts_of(exchange) == ["a"]
    assert [each["code"] for each in closes(exchange)] == [1008]


async def test_the_metrics_count_messages_by_rule() -> None:
    """Under the names of their rules."""
    registry = CollectorRegistry()
    rate_limit = RateLimit("9/minute", messages=[Rule("2/minute", name="chatter")])
    app = Guard(metrics=Metrics(registry=registry), rate_limit=rate_limit)(echo)
    await talk("a", "b", "c").run(app)
    shown = generate_latest(registry).decode()
    for decision, count in (("allowed", 2), ("denied", 1)):
        sample = f'decisions_total{{decision="{decision}",rule="chatter"}} {count}.0'
        assert sample in shown


async def test_an_error_of_a_key_is_the_apps_to_see() -> None:
    """It comes out where the message was to be read, and does not come again."""

    async def no_key(scope: Any) -> str:
        raise LookupError("who is it?")

    with pytest.raises(LookupError, match="who is it"):
        await Talking(messages=[Rule("1/minute", key=no_key)]).echoed("a")


async def test_requests_are_keyed_by_address_where_there_is_no_connection() -> None:
    """A key that were new for each request would limit nothing."""
    limited = Limited(Rule("1/hour", key=connection))
    assert await limited.statuses(get(), connect(), get()) == [200, 429, 429]
    assert await limited.statuses(get(client=("192.0.2.2", 1))) == [200]


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: RateLimit(messages="20/second"), "RateLimit.messages"),
        (lambda: RateLimit("1/hour", messages=None), "RateLimit.messages"),  # type: ignore[arg-type]
        (lambda: RateLimit(messages=[5]), "RateLimit.messages"),  # type: ignore[list-item]
        (lambda: RateLimit(messages=["often"]), "Rule.quota"),
        (lambda: RateLimit(messages=[]), "RateLimit.rules"),
        (lambda: RateLimit(messages=["1/hour", "1/hour"]), "Rule.name"),
        (
            lambda: RateLimit(Rule("1/hour", name="a"), messages=[Rule("2/hour", name="a")]),
            "Rule.name",
        ),
        (lambda: RateLimit(messages=[Rule("1/hour", algorithm="moving-window")]), "Rule.algorithm"),
        (lambda: RateLimit(messages=["1/hour"], on_excess="ignore"), "RateLimit.on_excess"),  # type: ignore[arg-type]
        (lambda: RateLimit("1/hour", on_excess="drop"), "RateLimit.on_excess"),
    ],
)
def test_a_wrong_setting_is_named(make: Any, field: str) -> None:
    """The field, when the object is made."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert raised.value.field == field


async def test_messages_are_counted_in_redis(redis_server: RedisServer) -> None:
    """By two workers for one key, and by each connection for itself."""
    rules = [Rule("3/hour", key=path), "2/hour"]
    workers = [Talking(messages=rules, store=redis_server.url, store_timeout=5.0) for _ in range(2)]
    assert await workers[0].echoed("a", "b", "c") == ["a", "b"]
    assert await workers[1].echoed("a", "b") == ["a"]
    for worker in workers:
        await worker.layer.aclose()


@pytest.mark.parametrize(
    ("mode", "echoed", "codes"),
    [("local", ["a"], [1008]), ("admit", ["a", "b"], []), ("refuse", [], [1013])],
)
async def test_what_holds_while_the_store_is_out(
    redis_servers: RedisServers, mode: Any, echoed: list[str], codes: list[int]
) -> None:
    """As for requests; who refuses for that says that later may be better."""
    async with FaultProxy(redis_servers.get("redis-8").port) as proxy:
        await proxy.refuse()
        store = f"redis://127.0.0.1:{proxy.port}"
        talking = Talking(messages=["1/hour"], store=store, on_store_failure=mode)
        exchange = await talk("a", "b").run(talking.app)
        assert texts_of(exchange) == echoed
        assert [each["code"] for each in closes(exchange)] == codes
        assert len(talking.layer.outages()) == 1
        await talking.layer.aclose()


def test_messages_have_no_outcome() -> None:
    """So none can be counted by it."""
    with pytest.raises(ConfigurationError, match=r"RateLimit\.messages is .*without count_when"):
        RateLimit(messages=[Rule("1/hour", count_when={401})])


def test_rules_for_messages_must_apply_to_handshakes() -> None:
    """A rule for the methods of requests alone would never hold a message."""
    with pytest.raises(ConfigurationError, match=r"Rule\.methods is .*a handshake is a GET"):
        RateLimit(messages=[Rule("5/second", methods={"POST"})])
    assert RateLimit(messages=[Rule("5/second", methods={"GET", "POST"})]).messages
