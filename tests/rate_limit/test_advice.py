"""Advice: classic mistakes are told once, and what is right is not told off."""

import logging
from typing import Any

import pytest

from asgi_guard import Guard, RateLimit, Rule, TrustedProxies
from asgi_guard.rate_limit.advice import has_fellows
from tests.driver import Exchange, hello, http_scope
from tests.processes import Children
from tests.servers.serving import Servers

FORWARDED = (b"x-forwarded-for", b"203.0.113.7")


async def advice(
    app: Any, caplog: pytest.LogCaptureFixture, client: Any, *headers: tuple[bytes, bytes]
) -> list[str]:
    """Return the codes of what is logged when a client sends requests over its quota."""
    with caplog.at_level(logging.INFO, "asgi_guard"):
        for _ in range(5):
            scope = {**http_scope(), "client": client, "headers": list(headers)}
            await Exchange(scope).run(app)
    return [record.getMessage().partition(":")[0] for record in caplog.records]


@pytest.mark.parametrize(
    ("client", "headers", "told"),
    [
        (("10.0.0.1", 5000), [FORWARDED], ["AG002"]),
        (("127.0.0.1", 5000), [(b"forwarded", b"for=203.0.113.7")], ["AG002"]),
        (None, [FORWARDED], ["AG002"]),
        (("10.0.0.1", 0), [FORWARDED], []),  # the server has seen through the proxy
        (("1.1.1.1", 5000), [FORWARDED], []),  # anybody may send that field
        (("10.0.0.1", 5000), [], []),
        (("testclient", 5000), [FORWARDED], []),
    ],
)
async def test_a_proxy_that_is_limited_is_told_once(
    caplog: pytest.LogCaptureFixture, client: Any, headers: Any, told: list[str]
) -> None:
    """At the first refusals, and not by what it forwards."""
    assert await advice(RateLimit("1/hour")(hello), caplog, client, *headers) == told
    assert all("203.0.113.7" not in record.getMessage() for record in caplog.records)


async def test_a_proxy_that_is_trusted_is_no_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """Then the client is known."""
    guarded = Guard(proxies=TrustedProxies("10.0.0.0/8"), rate_limit=RateLimit("1/hour"))(hello)
    assert await advice(guarded, caplog, ("10.0.0.1", 5000), FORWARDED) == []


async def test_other_keys_have_no_such_mistake(caplog: pytest.LogCaptureFixture) -> None:
    """Addresses do not matter to them."""
    guarded = RateLimit(Rule("1/hour", key=lambda _: "all"))(hello)
    assert await advice(guarded, caplog, ("10.0.0.1", 5000), FORWARDED) == []


async def test_workers_that_count_apart_are_told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, where the environment says that there are several."""
    monkeypatch.setenv("WEB_CONCURRENCY", "4")
    client = ("1.1.1.1", 5000)
    assert await advice(RateLimit("1/hour")(hello), caplog, client) == ["AG003"]


@pytest.mark.parametrize("number", ["", "1", "0"])
def test_one_worker_has_no_fellows(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    """Nor has a test."""
    monkeypatch.setenv("WEB_CONCURRENCY", number)
    assert not has_fellows()


@pytest.mark.parametrize(("workers", "told"), [("2", True), ("1", False)])
def test_workers_of_a_server_are_recognised(
    children: Children, http: Any, workers: str, told: bool
) -> None:
    """As uvicorn starts them."""
    served = Servers(children).start(
        "uvicorn", "counting_app:make", "--factory", "--workers", workers
    )
    for _ in range(20):
        http.get(served.url)
    assert ("AG003" in served.child.log.read_text()) is told
