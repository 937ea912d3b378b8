"""The limit on a function: whom it charges, and what becomes of a refusal."""

import asyncio
import inspect
import json
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, assert_type

import http_sf
import pytest
from prometheus_client import CollectorRegistry

from asgi_guard import (
    Breakers,
    CircuitBreaker,
    ConfigurationError,
    Guard,
    MemoryStore,
    Metrics,
    Quota,
    QuotaExceeded,
    RateLimit,
    Rule,
    StoreUnavailable,
    Switch,
    rate_limited,
)
from asgi_guard.current import CURRENT
from asgi_guard.testing import FakeClock
from tests.driver import Exchange, connect, get, hello, http_scope
from tests.stores.redis_server import RedisServer

Function = Callable[[], Any]


def calling(function: Function) -> Any:
    """Return an app that calls a function, awaits what it returns, and greets."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        result = function()
        if inspect.isawaitable(result):
            await result
        await hello(scope, receive, send)

    return app


async def statuses(app: Any, *requests: Exchange) -> list[int]:
    """Send requests one after the other."""
    return [(await request.run(app)).status for request in requests]


def still() -> MemoryStore:
    """Return a store whose time stands still."""
    return MemoryStore(clock=FakeClock(0.0))


def parsed(exchange: Exchange, field: str) -> Any:
    """Read a list of RFC 9651 with somebody else's parser; there must be one field."""
    (start,) = exchange.starts
    (value,) = [value for name, value in start["headers"] if name == field.encode()]
    return http_sf.parse(value, tltype="list")


@pytest.mark.parametrize("kind", ["async", "sync", "in a thread", "returning an awaitable"])
async def test_a_function_is_not_called_over_quota(kind: str) -> None:
    """Nor is anything charged for what was refused."""
    limit = rate_limited("2/minute", store=still())
    calls: list[str] = []

    @limit
    async def run() -> None:
        calls.append("async")

    @limit
    def run_sync() -> None:
        calls.append("sync")

    @limit
    def run_later() -> Awaitable[None]:
        calls.append("later")
        return asyncio.sleep(0)

    functions: dict[str, Function] = {
        "async": run,
        "sync": run_sync,
        "in a thread": lambda: asyncio.to_thread(run_sync),
        "returning an awaitable": run_later,
    }
    app = Guard()(calling(functions[kind]))
    assert await statuses(app, get(), get(), get(), get()) == [200, 200, 429, 429]
    assert len(calls) == 2


async def test_clients_have_quotas_of_their_own() -> None:
    """By address, unless a key says otherwise."""
    limited = Guard()(calling(rate_limited("1/minute")(lambda: None)))
    ann, bob = ("192.0.2.1", 1), ("192.0.2.2", 1)
    assert await statuses(limited, get(client=ann), get(client=bob)) == [200, 200]
    assert await statuses(limited, get(client=ann), get(client=bob)) == [429, 429]
    by_path = rate_limited(Quota(1, 60.0), key=lambda scope: scope["path"])(lambda: None)
    app = Guard()(calling(by_path))
    assert await statuses(app, get("/a"), get("/b"), get("/a")) == [200, 200, 429]


async def test_functions_do_not_share_unless_they_are_told_to() -> None:
    """Not in one store either; by the name of a rule, they do."""
    store = still()

    @rate_limited("1/minute", store=store)
    async def first() -> None: ...

    @rate_limited("1/minute", store=store)
    async def second() -> None: ...

    assert await statuses(Guard()(calling(first)), get(), get()) == [200, 429]
    assert await statuses(Guard()(calling(second)), get(), get()) == [200, 429]
    exports = rate_limited(Rule("1/minute", name="exports"))
    csv, pdf = exports(lambda: None), exports(lambda: None)
    assert await statuses(Guard()(calling(csv)), get()) == [200]
    assert await statuses(Guard()(calling(pdf)), get()) == [429]
    again = Rule("1/minute", name="mails")
    one, two = (rate_limited(again, store=store)(lambda: None) for _ in range(2))
    assert await statuses(Guard()(calling(one)), get()) == [200]
    assert await statuses(Guard()(calling(two)), get()) == [429]


async def test_rules_are_charged_together_or_not_at_all() -> None:
    """Refused by the tight one, a call takes nothing from the wide one."""
    clock = FakeClock(0.0)
    store = MemoryStore(clock=clock)
    wide, tight = Rule("3/hour", name="wide"), Rule("1/second", name="tight")
    app = Guard()(calling(rate_limited(wide, tight, store=store)(lambda: None)))
    assert await statuses(app, get(), get(), get()) == [200, 429, 429]
    clock.advance(10.0)
    left = dict(parsed(await get().run(app), "ratelimit"))
    assert left["wide"]["r"] == 1


async def test_methods_are_limited() -> None:
    """Of instances and of classes, with what they are called with."""

    class Reports:
        @rate_limited("1/minute")
        async def one(self, number: int) -> int:
            return number

        @classmethod
        @rate_limited("1/minute")
        def of_the_class(cls) -> type:
            return cls

        @staticmethod
        @rate_limited("1/minute")
        def of_nobody() -> str:
            return "static"

    seen: list[object] = []

    async def call() -> None:
        seen.extend((await Reports().one(7), Reports.of_the_class(), Reports.of_nobody()))

    assert await statuses(Guard()(calling(call)), get(), get()) == [200, 429]
    assert seen == [7, Reports, "static"]


def test_a_function_looks_as_it_did() -> None:
    """Frameworks read its signature; type checkers, too."""

    async def report(number: int, *, name: str = "x") -> bytes:
        """Report."""
        return b""

    limited = rate_limited("5/minute")(report)
    assert_type(limited(1, name="y"), Coroutine[Any, Any, bytes]).close()
    assert inspect.signature(limited) == inspect.signature(report)
    assert inspect.iscoroutinefunction(limited)
    assert (limited.__name__, limited.__doc__) == ("report", "Report.")
    assert not inspect.iscoroutinefunction(rate_limited("5/minute")(lambda: None))


async def test_a_refusal_is_that_of_the_middleware() -> None:
    """Byte for byte, since clients are the same."""
    rules = (Rule("1/minute", name="one"), Rule("1/hour", name="two"))
    outside = RateLimit(*rules, store=still())(hello)
    inside = Guard()(calling(rate_limited(*rules, store=still())(lambda: None)))
    for request in (get, get, partial(get, method="HEAD"), connect):
        expected, answer = await request().run(outside), await request().run(inside)
        assert answer.sent == expected.sent
    assert answer.status == 429


async def test_fields_join_those_of_the_middleware() -> None:
    """One field of a name, those of the function first, however often it is called."""
    limited = rate_limited(Rule("9/hour", name="inside"), store=still())(lambda: None)

    def thrice() -> None:
        for _ in range(3):
            limited()

    guard = Guard(rate_limit=RateLimit("100/minute", store=still()))
    exchange = await get().run(guard(calling(thrice)))
    assert parsed(exchange, "ratelimit-policy") == [
        ("inside", {"q": 9, "w": 3600}),
        ("100/minute", {"q": 100, "w": 60}),
    ]
    (_, inside), (_, outside) = parsed(exchange, "ratelimit")
    assert (inside["r"], outside["r"]) == (6, 99)
    await get().run(guard(calling(thrice)))
    await get().run(guard(calling(thrice)))
    refused = await get().run(guard(calling(thrice)))
    assert refused.status == 429
    assert [name for name, _ in parsed(refused, "ratelimit")] == ["inside", "100/minute"]
    silent = rate_limited("9/hour", fields=None)(lambda: None)
    assert "ratelimit" not in (await get().run(Guard()(calling(silent)))).headers


async def test_an_error_says_what_was_refused() -> None:
    """For code that has an answer of its own, which stands."""
    seen: list[QuotaExceeded] = []
    limited = rate_limited(Rule("1/minute", name="mails"), store=still())(lambda: None)

    def call() -> None:
        try:
            limited()
        except QuotaExceeded as error:
            seen.append(error)

    assert await statuses(Guard()(calling(call)), get(), get()) == [200, 200]
    (error,) = seen
    assert error.rules == ("mails",)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 120
    assert str(error) == 'Quota "mails" is used up.'


async def test_trying_again_and_again_fills_nothing() -> None:
    """What a request keeps of its refusals is bounded, and gone when it ends."""
    limited = rate_limited("1/hour")(lambda: None)
    kept: list[int] = []
    handling: list[Any] = []

    def call() -> None:
        for _ in range(100):
            with suppress(QuotaExceeded):
                limited()
        handling.append(CURRENT.handling)
        kept.append(len(handling[0].exchange.refused))

    assert await statuses(Guard()(calling(call)), get()) == [200]
    assert 0 < kept[0] < 20
    assert handling[0].exchange.refused == ()


async def test_rules_of_a_function_are_rules() -> None:
    """They know methods, and leave preflights alone."""
    limited = rate_limited(Rule("1/hour", methods={"POST"}), Rule("2/hour"))(lambda: None)
    app = Guard()(calling(limited))
    cors = {"origin": "https://a.example", "access-control-request-method": "PUT"}
    preflights = [get(method="OPTIONS", headers=cors) for _ in range(3)]
    assert await statuses(app, *preflights) == [200] * 3
    assert await statuses(app, get(method="POST"), get(method="POST")) == [200, 429]
    assert await statuses(app, get(), get()) == [200, 429]


@pytest.mark.parametrize("way", ["group", "nested group", "cause", "task group"])
async def test_a_refusal_is_found_in_other_errors(way: str) -> None:
    """As task groups and the user's own errors hold it."""
    limited = rate_limited("1/minute")(lambda: None)

    async def in_a_task() -> None:
        limited()

    async def call() -> None:
        if way == "task group":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(in_a_task())
            return
        try:
            limited()
        except QuotaExceeded as error:
            if way == "cause":
                raise RuntimeError("no report") from error
            group = ExceptionGroup("", [error])
            raise (group if way == "group" else ExceptionGroup("", [group])) from None

    assert await statuses(Guard()(calling(call)), get(), get()) == [200, 429]


async def test_other_errors_pass() -> None:
    """Also beside a refusal: a group that holds anything else is somebody's real trouble."""
    limited = rate_limited("1/minute")(lambda: None)

    def call() -> None:
        try:
            limited()
        except QuotaExceeded as error:
            raise ExceptionGroup("", [error, OSError()]) from None

    app = Guard()(calling(call))
    assert await statuses(app, get()) == [200]
    exchange = get()
    with pytest.raises(ExceptionGroup):
        await exchange.run(app)
    assert exchange.sent == []

    def foreign() -> None:
        raise QuotaExceeded("of somebody else")

    with pytest.raises(QuotaExceeded):
        await get().run(Guard()(calling(foreign)))


@pytest.mark.parametrize("whole", [True, False])
async def test_a_framework_that_answers_errors_itself(*, whole: bool) -> None:
    """Its bare 500 gives way; an answer in pieces is one of the app's own."""
    limited = rate_limited("1/minute")(lambda: None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await calling(limited)(scope, receive, send)
        except QuotaExceeded:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"sorry", "more_body": not whole})
            if not whole:
                await send({"type": "http.response.body", "body": b", really"})

    guarded = Guard(breakers=[CircuitBreaker("a")])(app)
    assert await statuses(guarded, get(), get()) == [200, 429 if whole else 500]


async def test_a_500_of_the_apps_own_is_not_held() -> None:
    """While nothing was refused in a request, all of it passes at once."""
    limited = rate_limited("9/minute")(lambda: None)
    exchange = get()
    held: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        limited()
        await send({"type": "http.response.start", "status": 500, "headers": []})
        held.append(len(exchange.sent))
        await send({"type": "http.response.body"})

    assert (await exchange.run(Guard()(app))).status == 500
    assert held == [1]


async def test_without_a_guard_a_call_says_what_to_do() -> None:
    """It does not pass unlimited."""

    @rate_limited("5/minute")
    async def report() -> None: ...

    limited = rate_limited("5/minute")(lambda: None)
    for function in (report, limited):
        with pytest.raises(RuntimeError, match=r"app\.add_middleware\(Guard\(\)\) is enough"):
            await get().run(calling(function))
    with pytest.raises(RuntimeError, match=r"test_handler:.*report is limited .*RateLimiter"):
        await report()


async def test_a_request_is_known_until_it_ends() -> None:
    """Afterwards the same task knows none, and after a guard inside the one outside again."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(CURRENT.handling)
        await hello(scope, receive, send)

    async def outer(scope: Any, receive: Any, send: Any) -> None:
        seen.append(CURRENT.handling)
        await Breakers()(app)(scope, receive, send)
        seen.append(CURRENT.handling)

    rate_limited("5/minute")
    await get().run(Guard()(outer))
    before, inside, after = seen
    assert before is after
    assert inside is not before
    assert CURRENT.handling is None


async def test_nothing_is_set_while_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a guard that was there first tells of requests from then on."""
    monkeypatch.setattr(CURRENT, "is_wanted", False)
    seen: list[Any] = []
    functions: list[Function] = [lambda: seen.append(CURRENT.handling)]

    async def call() -> None:
        functions[-1]()

    app = Guard()(calling(call))
    assert await statuses(app, get()) == [200]
    assert seen == [None]
    functions.append(rate_limited("1/minute")(lambda: None))
    assert await statuses(app, get(), get()) == [200, 429]


def test_a_guard_needs_no_event_loop_of_its_own() -> None:
    """Apps can be driven by hand, whether or not some function is limited elsewhere."""
    rate_limited("5/minute")
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    request = Guard(rate_limit=RateLimit("5/minute"))(hello)(http_scope(), send, send)
    with pytest.raises(StopIteration):
        request.__await__().send(None)
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


async def test_after_the_response_has_begun_the_error_is_raised() -> None:
    """A background task is charged like others; but there is nobody left to answer."""

    @rate_limited("1/minute", store=still())
    async def remind() -> None: ...

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        await remind()

    guarded = Guard()(app)
    assert await statuses(guarded, get()) == [200]
    exchange = get()
    with pytest.raises(QuotaExceeded, match="The response has begun: no client can be told"):
        await exchange.run(guarded)
    assert (exchange.status, exchange.body) == (200, b"hello")


async def test_a_task_that_outlives_its_request_is_charged() -> None:
    """It was started in the request's context, which it keeps."""
    tasks: list[asyncio.Task[None]] = []
    gone = asyncio.Event()

    @rate_limited("1/minute", store=still())
    async def remind() -> None: ...

    async def later() -> None:
        await gone.wait()
        await remind()

    app = Guard()(calling(lambda: tasks.append(asyncio.create_task(later()))))
    assert await statuses(app, get(), get()) == [200, 200]
    gone.set()
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert first is None
    assert isinstance(second, QuotaExceeded)


@pytest.mark.parametrize("kind", ["thread", "executor"])
async def test_a_thread_without_the_context_says_so(kind: str) -> None:
    """It cannot know whose request this is."""
    limited = rate_limited("5/minute")(lambda: None)
    raised: list[BaseException] = []

    def call() -> None:
        try:
            limited()
        except RuntimeError as error:
            raised.append(error)

    async def start() -> None:
        if kind == "thread":
            thread = threading.Thread(target=call)
            thread.start()
            await asyncio.to_thread(thread.join)
        else:
            await asyncio.get_running_loop().run_in_executor(None, call)

    assert await statuses(Guard()(calling(start)), get()) == [200]
    assert "other threads, executors, job queues and scripts do not" in str(raised[0])


async def test_counters_are_touched_in_the_thread_of_the_loop() -> None:
    """They are not made for more than one."""
    threads: set[int] = set()

    def clock() -> float:
        threads.add(threading.get_ident())
        return 0.0

    limited = rate_limited("5/minute", store=MemoryStore(clock=clock))(threading.get_ident)
    ran: list[int] = []

    async def call() -> None:
        ran.append(await asyncio.to_thread(limited))

    await statuses(Guard()(calling(call)), *(get() for _ in range(3)))
    assert threads == {threading.get_ident()}
    assert threading.get_ident() not in ran


async def test_a_loop_of_another_thread_waits_for_that_of_the_request() -> None:
    """Without blocking either."""

    @rate_limited("2/minute", store=still())
    async def report() -> None: ...

    async def call() -> None:
        await asyncio.to_thread(lambda: asyncio.run(report()))

    assert await statuses(Guard()(calling(call)), get(), get(), get()) == [200, 200, 429]


def test_a_thread_does_not_wait_for_a_loop_that_has_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor for one that is closed: it says so."""
    monkeypatch.setattr("asgi_guard.current._LOOK_UP", 0.01)
    limited = rate_limited("5/minute")(lambda: None)
    raised: list[BaseException] = []
    may_go = threading.Event()

    def call() -> None:
        may_go.wait(10)
        for _ in range(2):
            try:
                limited()
            except RuntimeError as error:
                raised.append(error)
            loop.close()

    threads: list[threading.Thread] = []

    async def start() -> None:
        context = copy_context()
        threads.append(threading.Thread(target=context.run, args=[call]))
        threads[0].start()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(get().run(Guard()(calling(start))))
    may_go.set()
    threads[0].join(10)
    assert [str(error).rpartition(" ")[2] for error in raised] == ["stopped", "closed"]


class Asked(MemoryStore):
    """A store that has to be waited for, and may be out."""

    def __init__(self) -> None:
        super().__init__(clock=FakeClock(0.0))
        self.within: list[float | None] = []
        self.is_out = False

    async def hit(self, charges: Any, *, within: float | None = None) -> Any:
        """Answer in the next turn of the loop, if at all."""
        self.within.append(within)
        await asyncio.sleep(0)
        if self.is_out:
            raise StoreUnavailable("pulled out")
        return await super().hit(charges)


async def test_a_store_that_is_asked_is_waited_for() -> None:
    """By async functions, and by those in threads."""
    store = Asked()
    limited = rate_limited(Rule("2/minute", name="a"), store=store, store_timeout=2.5)

    @limited
    async def report() -> None: ...

    in_thread = limited(lambda: None)
    app = Guard()(calling(report))
    assert await statuses(app, get()) == [200]
    app = Guard()(calling(lambda: asyncio.to_thread(in_thread)))
    assert await statuses(app, get(), get()) == [200, 429]
    assert store.within == [2.5] * 3
    with pytest.raises(RuntimeError, match="make it an async function, or call it in a thread"):
        await get().run(Guard()(calling(in_thread)))
    assert len(store.within) == 3


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("local", [200, 429]), ("admit", [200, 200]), ("refuse", [503, 503])],
)
async def test_an_outage_goes_by_the_rule(mode: Any, expected: list[int]) -> None:
    """As it does for `RateLimit`."""
    store = Asked()
    store.is_out = True
    limit = rate_limited("1/minute", store=store, on_store_failure=mode)

    @limit
    async def report() -> None: ...

    app = Guard()(calling(report))
    requests = [get(), get()]
    assert await statuses(app, *requests) == expected
    if mode == "refuse":
        assert requests[0].headers["retry-after"] == "1"
        assert json.loads(requests[0].body)["detail"].startswith("The server cannot count")
    await limit.aclose()


async def test_it_is_closed_when_the_app_shuts_down() -> None:
    """Like what the guard itself has open; the probe of an outage does not go on."""
    store = Asked()
    store.is_out = True

    @rate_limited("1/minute", store=store)
    async def report() -> None: ...

    app = Guard()(calling(report))
    await statuses(app, get())
    probes = [task for task in asyncio.all_tasks() if "Outage" in repr(task.get_coro())]
    assert probes

    async def lifespan(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    await Exchange({"type": "lifespan"}).run(Guard()(lifespan))
    assert all(task.done() for task in probes)


async def test_a_socket_is_refused_before_it_is_accepted() -> None:
    """With the status where the server can send one; the app may have read the first message."""
    limited = rate_limited("1/minute")(lambda: None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/read":
            await receive()
        limited()
        await send({"type": "websocket.accept"})

    guarded = Guard()(app)
    (accept,) = (await connect().run(guarded)).sent
    assert [name for name, _ in accept["headers"]] == [b"ratelimit-policy", b"ratelimit"]
    assert await statuses(guarded, connect(), connect("/read")) == [429, 429]
    closed = await connect("/read", denial=False).run(guarded)
    assert closed.sent == [{"type": "websocket.close", "code": 1013}]


async def test_an_accepted_socket_is_closed() -> None:
    """With the code for trying again later."""
    limited = rate_limited("2/minute")(lambda: None)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            limited()

    exchange = await connect().run(Guard()(app))
    assert exchange.sent[1:] == [{"type": "websocket.close", "code": 1013}]


async def test_it_charges_where_it_is_called_without_a_function() -> None:
    """As frameworks call dependencies: in the loop, or in a thread."""
    limit = rate_limited("2/minute")
    assert str(inspect.signature(limit)) == "() -> None"
    app = Guard()(calling(limit))
    assert await statuses(app, get(), get(), get()) == [200, 200, 429]
    limit = rate_limited("2/minute")
    in_thread: Function = lambda: asyncio.to_thread(limit)  # noqa: E731
    assert await statuses(Guard()(calling(in_thread)), get(), get(), get()) == [200, 200, 429]


async def test_names_fit_into_a_field() -> None:
    """However long a function's is, and in whatever script."""
    names = []
    for name in ("größe", "x" * 200, "x" * 201):
        function: Any = lambda: None  # noqa: E731
        function.__module__, function.__qualname__ = "shop", name
        exchange = await get().run(Guard()(calling(rate_limited("5/minute")(function))))
        names.append(parsed(exchange, "ratelimit")[0][0])
    assert names[0] == r"5/minute shop:gr\xf6\xdfe"
    assert len(set(names)) == 3


async def test_it_shows_among_the_metrics() -> None:
    """Beside the rules of the guard, under its own name."""
    guard = Guard(metrics=Metrics(registry=CollectorRegistry()))
    app = guard(calling(rate_limited(Rule("1/hour", name="of a function"))(lambda: None)))
    assert await statuses(app, get(), get(), get()) == [200, 429, 429]
    text = (await get("/metrics").run(app)).body.decode()
    name = 'asgi_guard_rate_limit_decisions_total{decision="%s",rule="of a function"} %.1f'
    assert name % ("allowed", 1) in text
    assert name % ("denied", 2) in text


@pytest.mark.parametrize("kind", ["sync", "async", "thread", "dependency"])
async def test_a_switch_turns_limits_on_functions_off(kind: str) -> None:
    """While it is off they are called; then it goes on from where it was."""
    switch = Switch()
    limit = rate_limited("1/hour", store=still(), switch=switch)

    async def report() -> None: ...

    def report_sync() -> None: ...

    function: Any = limit if kind == "dependency" else limit(report_sync)
    if kind == "async":
        function = limit(report)
    app = Guard()(calling(partial(asyncio.to_thread, function) if kind == "thread" else function))
    assert await statuses(app, get(), get()) == [200, 429]
    switch.off()
    for request in (get(), get()):
        assert "ratelimit" not in (await request.run(app)).headers
        assert request.status == 200
    switch.on()
    assert await statuses(app, get()) == [429]


async def test_limits_on_functions_can_be_tried_before_they_are_enforced() -> None:
    """All rules of a function, or one of them; metrics tell whom they would refuse."""
    named = Rule("1/hour", name="tried"), Rule("2/hour", name="tried too")
    whole = rate_limited(*named, store=still(), shadow=True)
    alone = rate_limited(Rule("1/hour", name="alone", shadow=True), "2/hour", store=still())
    guard = Guard(metrics=Metrics(registry=CollectorRegistry()))
    assert await statuses(guard(calling(whole(lambda: None))), *(get() for _ in range(4))) == (
        [200] * 4
    )
    app = guard(calling(alone(lambda: None)))
    assert await statuses(app, get(), get(), get()) == [200, 200, 429]
    text = (await get("/metrics").run(app)).body.decode()
    name = 'asgi_guard_rate_limit_decisions_total{decision="shadow_denied",rule="%s"} %.1f'
    for rule, denied in (("tried", 3), ("tried too", 2), ("alone", 1)):
        assert name % (rule, denied) in text


async def test_redis_is_asked_and_closed(redis_server: RedisServer) -> None:
    """By async functions and those in threads; and all workers share what is counted."""
    others = redis_server.connections()
    first, second = (
        rate_limited(Rule("2/hour", name="shared"), store=redis_server.url, store_timeout=5)
        for _ in range(2)
    )

    @first
    async def report() -> None: ...

    in_thread = second(lambda: None)
    assert await statuses(Guard()(calling(report)), get()) == [200]
    app = Guard()(calling(lambda: asyncio.to_thread(in_thread)))
    assert await statuses(app, get(), get()) == [200, 429]
    assert redis_server.connections() == others + 2

    async def lifespan(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "lifespan.shutdown.complete"})

    await Exchange({"type": "lifespan"}).run(Guard()(lifespan))
    assert redis_server.connections() == others


def _generate() -> Any:
    yield


async def _generate_async() -> Any:
    yield


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (rate_limited, "rate_limited.rules"),
        (lambda: rate_limited(5), "rate_limited.rules"),  # type: ignore[arg-type]
        (lambda: rate_limited("often"), "Rule.quota"),
        (lambda: rate_limited(Rule("5/minute", path="/x")), "Rule.path"),
        (lambda: rate_limited(Rule("5/minute"), key=lambda scope: "x"), "rate_limited.key"),
        (lambda: rate_limited("5/minute", key="x"), "Rule.key"),  # type: ignore[arg-type]
        (lambda: rate_limited("5/minute", "5/minute"), "Rule.name"),
        (lambda: rate_limited("5/minute", store="nowhere"), "rate_limited.store"),
        (lambda: rate_limited("5/minute", workers=0), "rate_limited.workers"),
        (lambda: rate_limited("5/minute", shadow=1), "rate_limited.shadow"),  # type: ignore[arg-type]
        (lambda: rate_limited("5/minute", switch=True), "rate_limited.switch"),  # type: ignore[arg-type]
        (lambda: rate_limited("5/minute", fields="all"), "rate_limited.fields"),  # type: ignore[arg-type]
        (lambda: rate_limited("5/minute")(_generate), "rate_limited.__call__"),
        (lambda: rate_limited("5/minute")(_generate_async), "rate_limited.__call__"),
        (lambda: rate_limited("5/minute")(dict), "rate_limited.__call__"),
        (lambda: rate_limited("5/minute")(staticmethod(_generate)), "rate_limited.__call__"),
        (lambda: rate_limited("5/minute")("5/hour"), "rate_limited.__call__"),  # type: ignore[call-overload]
    ],
)
def test_a_wrong_setting_is_named(make: Any, field: str) -> None:
    """When the object is made or the function decorated, before anything runs."""
    with pytest.raises(ConfigurationError) as raised:
        make()
    assert raised.value.field == field
