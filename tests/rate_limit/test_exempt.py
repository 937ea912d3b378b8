"""Exemptions: networks, paths and functions, of a rule and of the whole guard."""

import asyncio
from ipaddress import IPv4Network
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from asgi_guard import Guard, Metrics, RateLimit, Rule
from asgi_guard.rate_limit.rules.exempt import Exemptions
from tests.driver import connect, get, hello, http_scope
from tests.rate_limit.limiting import Limited, on_redis
from tests.stores.redis_server import RedisServer

OFFICE = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]


def both_ways(exempt: Any, **more: Any) -> list[Limited]:
    """Return an app whose rule has these exemptions, and one whose guard has them."""
    return [
        Limited(Rule("1/hour", exempt=exempt, **more)),
        Limited(Rule("1/hour", **more), exempt=exempt),
    ]


def has_token(scope: Any) -> bool:
    """Tell whether a request brings a header field at all."""
    return bool(scope["headers"])


async def has_token_slowly(scope: Any) -> bool:
    """Tell the same, after the loop has gone round."""
    await asyncio.sleep(0)
    return bool(scope["headers"])


@pytest.mark.parametrize(
    ("host", "is_exempt"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("2001:db8:1::1", True),
        ("2001:db9::1", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("testclient", False),
        ("", False),
        ("1" * 5000, False),
        (None, False),
    ],
)
async def test_clients_in_a_network_are_exempt(host: str | None, is_exempt: bool) -> None:
    """By the client's address, IPv4 in IPv6 as IPv4; what is no address is in no network."""
    client = None if host is None else (host, 1)
    for limited in both_ways(OFFICE):
        assert await limited.statuses(*(get(client=client) for _ in range(3))) == (
            [200] * 3 if is_exempt else [200, 429, 429]
        )
        assert limited.counts() == [(0, 0, 3) if is_exempt else (1, 2, 0)]


def test_a_client_without_an_address_is_in_no_network() -> None:
    """Some servers leave None in place of the host."""
    test = Exemptions(networks=(IPv4Network("0.0.0.0/0"),)).plain_test()
    assert test is not None
    clients: list[Any] = [None, (None, 1), ("", 1), ("192.0.2.1", 1)]
    assert [test(http_scope(client=each)) for each in clients] == [False, False, False, True]


async def test_networks_are_searched_once_for_a_client() -> None:
    """A client's address is remembered, and so is what it is in."""
    searched: list[str] = []

    class Watched(IPv4Network):
        def __contains__(self, address: object) -> bool:
            searched.append(str(address))
            return super().__contains__(address)

    test = Exemptions(networks=(Watched("10.0.0.0/8"),)).plain_test()
    assert test is not None
    clients = [("10.0.0.1", 1), ("10.0.0.1", 2), ("11.0.0.1", 1)] * 3
    assert [test(http_scope(client=client)) for client in clients] == [True, True, False] * 3
    assert searched == ["10.0.0.1", "11.0.0.1"]


@pytest.mark.parametrize("test", [has_token, has_token_slowly])
async def test_a_function_exempts(test: Any) -> None:
    """Plain or async, requests and handshakes; and the others are charged as ever."""
    for limited in both_ways([test]):
        token = {"x-token": "a"}
        requests = [get(headers=token), get(headers=token), connect(headers=token)]
        assert await limited.statuses(*requests[:2]) == [200, 200]
        await requests[2].run(limited.app)
        assert limited.counts() == [(0, 0, 3)]
        assert await limited.statuses(get(), get(), connect()) == [200, 429, 429]
        assert limited.counts() == [(1, 2, 3)]


async def test_any_of_the_entries_exempts() -> None:
    """Each by itself, whatever the others say."""
    entries = ["10.0.0.0/8", "/health", has_token, has_token_slowly, lambda scope: False]
    for limited in both_ways(entries):
        await limited.statuses(get())
        inside = [get(client=("10.0.0.1", 1)), get("/health"), get(headers={"x-token": "a"})]
        assert await limited.statuses(*inside, get()) == [200, 200, 200, 429]
        assert limited.counts() == [(1, 1, 3)]


async def test_a_path_is_exempt_from_the_rule_that_says_so() -> None:
    """Others still apply there, and the rule applies elsewhere."""
    limited = Limited(
        Rule("1/hour", name="a", exempt=["/health", "/static/*"]), Rule("2/hour", name="b")
    )
    requests = [get("/health"), get("/health/"), get("/static/x"), get("/other")]
    assert await limited.statuses(*requests) == [200, 200, 429, 429]
    assert limited.counts() == [(0, 0, 3), (2, 2, 0)]


async def test_a_path_is_exempt_where_the_rule_would_apply() -> None:
    """Elsewhere there is nothing to be exempt from, and nothing is counted."""
    limited = Limited(Rule("1/hour", path="/api/*", methods={"POST"}, exempt=["/api/status"]))
    await limited.statuses(get("/api/status"), get("/status"), get("/api/status", method="POST"))
    assert limited.counts() == [(0, 0, 1)]


async def test_a_path_of_the_guard_is_exempt_from_every_rule() -> None:
    """Also from those for that path."""
    limited = Limited("1/hour", Rule("1/hour", path="/health", name="own"), exempt=["/health"])
    assert await limited.statuses(*(get("/health") for _ in range(3))) == [200] * 3
    exchange = await get("/health").run(limited.app)
    assert not [name for name in exchange.headers if name.startswith("ratelimit")]
    assert limited.counts() == [(0, 0, 4), (0, 0, 4)]


@pytest.mark.parametrize("path", ["//health", "/health\n", " /health", "http://a/health", "/x"])
async def test_an_exemption_does_not_stretch_to_other_spellings(path: str) -> None:
    """An app may serve them as something else."""
    for limited in both_ways(["/health"]):
        assert await limited.statuses(get(path), get(path)) == [200, 429]


async def test_an_exemption_is_below_the_root_path() -> None:
    """As the patterns of rules are."""
    for limited in both_ways(["/health"]):
        request = {"root_path": "/v1"}
        assert await limited.statuses(*(get("/v1/health", **request) for _ in "12")) == [200, 200]
        assert await limited.statuses(*(get("/health/x", **request) for _ in "12")) == [200, 429]


@pytest.mark.parametrize("make_async", [False, True])
async def test_a_function_of_the_guard_is_asked_once(make_async: bool) -> None:
    """Whatever the number of rules; and not where no rule applies."""
    asked: list[str] = []

    def plain(scope: Any) -> bool:
        asked.append(scope["path"])
        return False

    async def slow(scope: Any) -> bool:
        return plain(scope)

    rules = [Rule("9/hour", name=name, path="/a") for name in ("x", "y", "z")]
    limited = Limited(*rules, exempt=[slow if make_async else plain])
    assert await limited.statuses(get("/a"), get("/b"), connect("/a")) != []
    assert asked == ["/a", "/a"]


@pytest.mark.parametrize("answer", [None, 1, "yes"])
async def test_an_answer_that_is_no_answer_exempts_nobody(answer: Any) -> None:
    """It is an error that names the function: true by accident would be unlimited."""

    def is_staff(scope: Any) -> Any:
        return answer

    async def is_staff_slowly(scope: Any) -> Any:
        return answer

    for function in (is_staff, is_staff_slowly):
        for limited in both_ways([function]):
            with pytest.raises(TypeError, match=rf"{function.__name__} returned .*; allowed: True"):
                await get().run(limited.app)
            assert limited.counts() == [(0, 0, 0)]


async def test_a_coroutine_is_no_answer() -> None:
    """A lambda does not say that what it returns has to be awaited."""
    for limited in both_ways([lambda scope: has_token_slowly({**scope})]):
        with pytest.raises(TypeError, match=r"<lambda> returned .* must be an `async def`"):
            await get().run(limited.app)


async def test_metrics_tell_what_was_exempt() -> None:
    """By rule, beside what was allowed and denied."""
    guard = Guard(
        metrics=Metrics(registry=CollectorRegistry()), rate_limit=RateLimit("1/hour", exempt=["/a"])
    )(hello)
    for path in ("/a", "/a", "/a", "/b", "/c", "/d"):
        await get(path).run(guard)
    text = (await get("/metrics").run(guard)).body.decode()
    for decision, count in (("allowed", 1), ("denied", 2), ("exempt", 3)):
        line = f'_decisions_total{{decision="{decision}",rule="1/hour"}} {count}.0'
        assert line in text


async def test_exemptions_hold_on_redis(redis_server: RedisServer) -> None:
    """And take no trip to the server."""
    for entry in ("10.0.0.0/8", "/health", has_token, has_token_slowly):
        limited = on_redis(Rule("1/hour", exempt=[entry]), url=redis_server.url)
        calls = redis_server.calls("evalsha")
        inside = get("/health", client=("10.0.0.1", 1), headers={"x-token": "a"})
        assert await limited.statuses(inside) == [200]
        assert redis_server.calls("evalsha") == calls
        assert limited.counts() == [(0, 0, 1)]
        await limited.statuses(get(), get())
        assert limited.counts()[0][1] >= 1
        await limited.layer.aclose()
        await limited.layer._store.aclose()  # type: ignore[attr-defined]


def test_a_setting_keeps_no_list_that_somebody_else_can_change() -> None:
    """What was checked stays as it was checked, and can be hashed."""
    entries = ["/health"]
    rule, guard = Rule("1/hour", exempt=entries), RateLimit("1/hour", exempt=entries)
    entries.append("nonsense")
    assert rule.exempt == guard.exempt == ("/health",)
    assert hash(rule) == hash(Rule("1/hour", exempt=("/health",)))
