"""Metrics: every request once, under labels that no client can invent."""

import asyncio
import gc
import gzip
import os
import subprocess
import sys
from functools import partial
from time import perf_counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from asgi_guard import ConcurrencyLimit, ConfigurationError, Guard, Metrics, Permits, RateLimit
from tests.driver import Exchange, connect, get, hello, http_scope

DURATION = "http_server_request_duration_seconds"


async def scrape(app: Any, **more: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return all samples of a scrape by name and labels."""
    exchange = await get("/metrics", **more).run(app)
    assert exchange.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(exchange.body.decode())
        for sample in family.samples
    }


def counted(samples: Any) -> dict[tuple[str, str, str], float]:
    """Return the number of requests by method, route and status."""
    found = {}
    for (name, labels), value in samples.items():
        if name == f"{DURATION}_count":
            by = dict(labels)
            key = by["http_request_method"], by["http_route"], by["http_response_status_code"]
            found[key] = value
    return found


def answering(status: int) -> Any:
    """Return an app with one answer."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    return app


def metrics(**more: Any) -> Metrics:
    """Return metrics with a registry of their own."""
    return Metrics(registry=CollectorRegistry(), **more)


async def test_requests_are_counted_by_method_route_and_status() -> None:
    """A path that no route answers is one constant, whatever it is."""
    app = metrics()(answering(404))
    for number in range(50):
        await get(f"/scan/{number}").run(app)
    assert counted(await scrape(app)) == {("GET", "__unmatched__", "404"): 50}


async def test_an_unheard_of_method_is_one_constant() -> None:
    """However many a client invents."""
    app = metrics()(hello)
    for number in range(20):
        await get(method=f"BREW{number}").run(app)
    await get(method="QUERY").run(app)
    assert counted(await scrape(app)) == {
        ("_OTHER", "__unmatched__", "200"): 20,
        ("QUERY", "__unmatched__", "200"): 1,
    }


async def test_the_scope_may_name_the_route() -> None:
    """The seam for frameworks that leave no trace; and it, too, is bounded."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["asgi_guard.route"] = scope["path"]
        await hello(scope, receive, send)

    guarded = metrics()(app)
    for number in range(300):
        await get(f"/{number}").run(guarded)
    seen = counted(await scrape(guarded))
    assert len(seen) == 201
    assert seen["GET", "__overflow__", "200"] == 100


async def test_a_template_of_the_framework_goes_before_the_route() -> None:
    """However often the route has answered; one that is empty tells nothing."""
    route = object()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = route
        scope["path_template"] = scope["path"].removesuffix("/one")
        await hello(scope, receive, send)

    guarded = metrics()(app)
    for path in ("/a/one", "/b/one", "/b/one", "/one"):
        await get(path).run(guarded)
    assert counted(await scrape(guarded)) == {
        ("GET", "/a", "200"): 1,
        ("GET", "/b", "200"): 2,
        ("GET", "__unmatched__", "200"): 1,
    }


@pytest.mark.parametrize("route", [7, ["/a"], "\udcff", "x" * 10_000])
async def test_what_is_no_route_is_no_label(route: Any) -> None:
    """A mistake there spoils neither the request nor the scrape."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["asgi_guard.route"] = route
        await hello(scope, receive, send)

    guarded = metrics()(app)
    assert (await get().run(guarded)).status == 200
    ((_, label, _),) = counted(await scrape(guarded))
    assert label in {"__unmatched__", "__overflow__"}


@pytest.mark.parametrize("version", ["abc", "1.0.0.0", "", "0.0.1", "9" * 99])
async def test_any_version_is_answered(version: str) -> None:
    """What the scraper asks for may not exist."""
    accept = {"accept": f"application/openmetrics-text; version={version}"}
    assert (await get("/metrics", headers=accept).run(metrics()(hello))).status == 200


async def test_an_error_is_a_500_and_a_cancelled_request_a_499() -> None:
    """Unless a status was sent before."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/started":
            await send({"type": "http.response.start", "status": 202, "headers": []})
        if scope["path"] == "/error":
            raise ConnectionResetError
        await asyncio.sleep(60)

    guarded = metrics()(app)
    with pytest.raises(ConnectionResetError):
        await get("/error").run(guarded)
    for path in ("/wait", "/started"):
        task = asyncio.create_task(get(path).run(guarded))
        await asyncio.sleep(0.001)
        active = ("http_server_active_requests", frozenset({("http_request_method", "GET")}))
        assert (await scrape(guarded))[active] == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    samples = await scrape(guarded)
    assert samples[active] == 0
    assert {status for _, _, status in counted(samples)} == {"500", "499", "202"}


async def test_the_duration_ends_with_the_last_byte() -> None:
    """Background work is not the client's waiting time; a stream is, to its end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        if scope["path"] == "/stream":
            await asyncio.sleep(0.2)
        await send({"type": "http.response.body", "body": b""})
        await asyncio.sleep(0.2)

    for path, least in (("/background", 0.0), ("/stream", 0.2)):
        guarded = metrics()(app)
        began = perf_counter()
        await get(path).run(guarded)
        whole = perf_counter() - began
        total = sum(v for (n, _), v in (await scrape(guarded)).items() if n == f"{DURATION}_sum")
        assert least <= total <= whole - 0.2


async def test_scrapes_and_websockets_are_not_requests() -> None:
    """They would drown what is looked for."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    guarded = metrics()(app)
    await connect().run(guarded)
    await scrape(guarded)
    assert counted(await scrape(guarded)) == {}


async def test_a_request_met_twice_is_counted_once() -> None:
    """Round the app and round a mounted one."""
    guard = metrics()
    guarded = guard(guard(hello))
    await get().run(guarded)
    assert sum(counted(await scrape(guarded)).values()) == 1


async def test_every_stack_of_a_registry_is_reported() -> None:
    """The same names twice are one series, summed; a stack that is gone is gone."""
    registry = CollectorRegistry()
    guards = [
        Guard(metrics=Metrics(registry=registry), rate_limit=RateLimit("5/hour")) for _ in range(2)
    ]
    apps = [guard(hello) for guard in guards]
    for app in apps:
        await get().run(app)
    allowed = (
        "asgi_guard_rate_limit_decisions_total",
        frozenset({("rule", "5/hour"), ("decision", "allowed")}),
    )
    assert (await scrape(apps[0]))[allowed] == 2  # and nothing for the scrape
    del apps[1], app
    gc.collect()
    assert (await scrape(apps[0]))[allowed] == 1


@pytest.mark.parametrize(("limit", "reported"), [(7, 14), (Permits(7), 7)])
async def test_what_two_stacks_share_is_reported_once(limit: Any, reported: int) -> None:
    """Seven permits each are fourteen; the same seven are seven."""
    guard = Guard(metrics=metrics(), concurrency=ConcurrencyLimit(limit))
    apps = [guard(hello), guard(hello)]
    name = ("asgi_guard_concurrency_limit", frozenset({("limiter", "requests")}))
    assert (await scrape(apps[0]))[name] == reported


async def test_the_apps_own_metrics_are_answered_as_well() -> None:
    """They share the registry."""
    registry = CollectorRegistry()
    Counter("pies", "Pies baked.", registry=registry).inc(3)
    app = Metrics(registry=registry)(hello)
    assert (await scrape(app))["pies_total", frozenset()] == 3


@pytest.mark.parametrize("path", ["/metrics", "/metrics/"])
async def test_both_spellings_are_answered(path: str) -> None:
    """Without a redirect."""
    assert (await get(path).run(metrics()(hello))).status == 200


async def test_it_answers_in_the_format_that_is_asked_for() -> None:
    """Text, OpenMetrics, and either of them compressed."""
    app = metrics()(hello)
    text = await get("/metrics").run(app)
    assert text.headers["content-type"].startswith("text/plain")
    accept = {"accept": "application/openmetrics-text; version=1.0.0", "accept-encoding": "gzip"}
    open_metrics = await get("/metrics", headers=accept).run(app)
    assert open_metrics.headers["content-type"].startswith("application/openmetrics-text")
    assert gzip.decompress(open_metrics.body).endswith(b"# EOF\n")


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 405)])
async def test_metrics_are_only_read(method: str, status: int) -> None:
    """Other methods are told which there are."""
    exchange = await get("/metrics", method=method).run(metrics()(hello))
    assert exchange.status == status
    assert exchange.headers.get("allow") == (None if status == 200 else "GET, HEAD")


async def test_scrapes_at_the_same_time_are_one() -> None:
    """And one scraper that leaves does not end it for the others."""
    registry = CollectorRegistry()
    runs: list[int] = []

    class Slow:
        def collect(self) -> list[Any]:
            runs.append(1)
            return []

    app = Metrics(registry=registry)(hello)
    registry.register(Slow())
    runs.clear()
    tasks = [asyncio.create_task(get("/metrics").run(app)) for _ in range(20)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [each.status for each in answers if isinstance(each, Exchange)] == [200] * 19
    assert len(runs) == 1


TOKEN = "a-token-for-the-scraper"


@pytest.mark.parametrize(
    ("access", "more", "status"),
    [
        (TOKEN, {}, 403),
        (TOKEN, {"headers": {"authorization": f"Bearer {TOKEN}"}}, 200),
        (TOKEN, {"headers": {"authorization": f"Bearer {TOKEN}x"}}, 403),
        (["10.0.0.0/8", "::1/128"], {"client": ("10.1.2.3", 1)}, 200),
        (["10.0.0.0/8", "::1/128"], {"client": ("::1", 1)}, 200),
        (["10.0.0.0/8"], {"client": ("::ffff:10.1.2.3", 1)}, 200),
        (["10.0.0.0/8"], {"client": ("192.0.2.1", 1)}, 403),
        (["10.0.0.0/8"], {"client": None}, 403),
        (["10.0.0.0/8"], {"headers": {"x-forwarded-for": "10.0.0.1"}}, 403),
        (lambda scope: scope["client"][0] == "192.0.2.1", {}, 200),
    ],
)
async def test_access_is_for_those_who_may(access: Any, more: Any, status: int) -> None:
    """A token, networks, or the user's own word."""
    assert (await get("/metrics", **more).run(metrics(access=access)(hello))).status == status


async def _later(scope: Any) -> bool:
    return False


class _Later:
    async def __call__(self, scope: Any) -> bool:
        return False


@pytest.mark.parametrize(
    "access",
    [lambda scope, *_: _later(scope), partial(_Later()), lambda scope: "yes", lambda scope: 1],
)
async def test_access_is_true_and_nothing_like_it(access: Any) -> None:
    """An async function in disguise answers with a coroutine, which is no answer."""
    assert (await get("/metrics").run(metrics(access=access)(hello))).status == 403


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"path": "metrics"}, "Metrics.path"),
        ({"path": "/"}, "Metrics.path"),
        ({"path": "/me trics"}, "Metrics.path"),
        ({"registry": "mine"}, "Metrics.registry"),
        ({"access": "short"}, "Metrics.access"),
        ({"access": ["10.0.0.1/8"]}, "Metrics.access"),
        ({"access": []}, "Metrics.access"),
        ({"access": 5}, "Metrics.access"),
        ({"access": b"a-token-for-the-scraper"}, "Metrics.access"),
        ({"access": ["a-token-for-the-scraper"]}, "Metrics.access"),
        ({"access": "192.168.100.0/24"}, "Metrics.access"),
        ({"access": _later}, "Metrics.access"),
        ({"access": _Later()}, "Metrics.access"),
        ({"access": lambda: True}, "Metrics.access"),
    ],
)
def test_a_wrong_setting_is_named(arguments: dict[str, Any], field: str) -> None:
    """The field, the value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        Metrics(**arguments)
    assert raised.value.field == field
    assert "scraper" not in str(raised.value) + repr(raised.value)


def test_a_token_is_never_shown() -> None:
    """Not in an error, and not in a description."""
    with pytest.raises(ConfigurationError) as raised:
        Metrics(access="hunter2")
    assert "hunter2" not in str(raised.value)
    assert TOKEN not in repr(Guard(metrics=metrics(access=TOKEN)))


def test_a_registry_with_the_same_names_is_refused() -> None:
    """When the guard is made, not at the first scrape."""
    registry = CollectorRegistry()
    Counter("asgi_guard_circuit_calls", "Somebody else's.", registry=registry)
    with pytest.raises(ConfigurationError, match=r"Metrics\.registry"):
        Metrics(registry=registry)


def test_several_processes_are_not_pretended_to_be_one() -> None:
    """The multiprocess mode of prometheus-client would leave the guards out, silently."""
    run = subprocess.run(
        [sys.executable, "-c", "import asgi_guard; asgi_guard.Metrics()"],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": "/nowhere"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert "ConfigurationError: PROMETHEUS_MULTIPROC_DIR is '/nowhere'" in run.stderr


async def test_below_a_root_path() -> None:
    """The path is that of the app."""
    scope = http_scope("/v1/metrics", root_path="/v1")
    incoming = [{"type": "http.request", "body": b""}]
    exchange = await Exchange(scope, incoming).run(metrics()(hello))
    assert exchange.status == 200
    assert exchange.body.startswith(b"# HELP")


async def test_the_route_may_be_named_after_the_app_has_run() -> None:
    """By a middleware that knows better then."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hello(scope, receive, send)
        scope["asgi_guard.route"] = "/items/{id}"

    guarded = metrics()(app)
    await get("/items/5").run(guarded)
    assert counted(await scrape(guarded)) == {("GET", "/items/{id}", "200"): 1}


async def test_the_duration_includes_a_client_that_reads_slowly() -> None:
    """The last byte is out when the server says so."""

    class Slow(Exchange):
        async def send(self, message: Any) -> None:
            await asyncio.sleep(0.05 * (message["type"] == "http.response.body"))
            await super().send(message)

    guarded = metrics()(hello)
    await Slow(http_scope()).run(guarded)
    samples = await scrape(guarded)
    (seconds,) = [value for (name, _), value in samples.items() if name.endswith("_sum")]
    assert seconds >= 0.05
