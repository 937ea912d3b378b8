"""Starlette and FastAPI: both ways of installing, one route, and what their errors become."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router

from asgi_guard import CircuitBreaker, ConcurrencyLimit, Guard, Metrics, Permits, RateLimit


def client(app: Any) -> httpx.AsyncClient:
    """Return a client of the app; errors that reach the server are raised."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def answer(request: Request) -> PlainTextResponse:
    """Answer anything."""
    return PlainTextResponse("in")


def with_breaker(kind: str) -> tuple[CircuitBreaker, Any]:
    """Return an app whose handler calls a downstream that is down."""
    breaker = CircuitBreaker("payments", consecutive_failures=1)

    async def pay() -> None:
        async with breaker:
            raise ConnectionResetError

    if kind == "fastapi":
        fast = FastAPI()
        fast.get("/")(pay)
        return breaker, fast

    async def endpoint(request: Request) -> PlainTextResponse:
        await pay()
        return PlainTextResponse("paid")

    return breaker, Starlette(routes=[Route("/", endpoint)])


@pytest.mark.parametrize("kind", ["starlette", "fastapi"])
@pytest.mark.parametrize("way", ["added", "round", "both"])
async def test_an_open_circuit_is_503_however_it_is_installed(kind: str, way: str) -> None:
    """The framework's own 500 gives way, outside as well as inside of it."""
    breaker, app = with_breaker(kind)
    guard = Guard(breakers=[breaker], rate_limit=RateLimit("100/minute"))
    if way != "round":
        app.add_middleware(guard)
    guarded = app if way == "added" else guard(app)
    async with client(guarded) as http:
        with pytest.raises(ConnectionResetError):
            await http.get("/")
        refused = await http.get("/")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) in range(1, 7)
    if way != "round":
        assert len(refused.headers.get_list("ratelimit")) == 1


class Passing(BaseHTTPMiddleware):
    """The base class that half of all middleware stands on."""

    async def dispatch(self, request: Request, call_next: Any) -> Any:
        """Pass the request on."""
        return await call_next(request)


@pytest.mark.parametrize("mounted", [False, True])
@pytest.mark.parametrize("way", ["added", "round"])
async def test_an_open_circuit_is_503_through_base_http_middleware(
    way: str, *, mounted: bool
) -> None:
    """It sends the inner 500 in pieces, and raises the error after them."""
    breaker, inner = with_breaker("starlette")
    app = Starlette(routes=[Mount("/m", inner)]) if mounted else inner
    app.add_middleware(Passing)
    guard = Guard(breakers=[breaker])
    if way == "added":
        app.add_middleware(guard)
    async with client(app if way == "added" else guard(app)) as http:
        path = "/m/" if mounted else "/"
        with pytest.raises(ConnectionResetError):
            await http.get(path)
        assert (await http.get(path)).status_code == 503


async def test_a_twin_that_is_made_during_the_first_request_acts_once() -> None:
    """Starlette makes its middleware when it is first called."""
    guard = Guard(
        rate_limit=RateLimit("10/minute"), concurrency=ConcurrencyLimit(Permits(1), max_waiting=0)
    )
    inner = Starlette(routes=[Route("/x", answer)])
    inner.add_middleware(guard)
    async with client(guard(Starlette(routes=[Mount("/m", inner)]))) as http:
        for _ in range(2):
            response = await asyncio.wait_for(http.get("/m/x"), 10)
            assert response.status_code == 200
            assert len(response.headers.get_list("ratelimit")) == 1


async def test_a_guard_on_one_route() -> None:
    """The others are not limited."""
    limit = Middleware(RateLimit("1/hour"))
    app = Starlette(routes=[Route("/tight", answer, middleware=[limit]), Route("/free", answer)])
    async with client(app) as http:
        tight = [(await http.get("/tight")).status_code for _ in range(2)]
        free = [(await http.get("/free")).status_code for _ in range(2)]
    assert (tight, free) == ([200, 429], [200, 200])


def shop() -> tuple[Any, Guard]:
    """Return a FastAPI app with everything that hides a route's template, and its guard."""
    app = FastAPI()

    @app.get("/items/{number:int}")
    async def item(number: int) -> int:
        return number

    inner = APIRouter(prefix="/users")

    @inner.get("/{name}")
    async def user(name: str) -> str:
        return name

    outer = APIRouter()
    outer.include_router(inner, prefix="/v2")
    app.include_router(inner, prefix="/v1")
    app.include_router(outer, prefix="/api")
    app.router.routes.append(Route("/plain/{x}", answer))
    sub = FastAPI()
    sub.get("/things/{x}")(_thing)
    app.mount("/sub", sub)
    app.mount("/t/{tenant}", Starlette(routes=[Route("/home/{x}", answer)]))
    app.mount("/static", PlainTextResponse("file"))
    guard = Guard(metrics=Metrics(registry=CollectorRegistry()))
    return app, guard


async def _thing(x: str) -> str:
    return x


ROUTES = {
    "/items/7": "/items/{number}",
    "/v1/users/ann": "/v1/users/{name}",
    "/api/v2/users/ann": "/api/v2/users/{name}",
    "/plain/1": "/plain/{x}",
    "/sub/things/1": "/sub/things/{x}",
    "/sub/nothing": "/sub/{path}",
    "/t/acme/home/1": "/t/{tenant}/home/{x}",
    "/t/acme/none": "/t/{tenant}/{path}",
    "/static/a/b.css": "/static/{path}",
    "/docs": "/docs",
    "/nowhere": "__unmatched__",
}


@pytest.mark.parametrize("way", ["added", "round"])
@pytest.mark.parametrize(("path", "route"), ROUTES.items())
async def test_the_route_label_is_the_template(way: str, path: str, route: str) -> None:
    """With every prefix, and never with what a client wrote."""
    app, guard = shop()
    if way == "added":
        app.add_middleware(guard)
    guarded = app if way == "added" else guard(app)
    async with client(guarded) as http:
        await http.get(path)
        text = (await http.get("/metrics")).text
    counted = "http_server_request_duration_seconds_count"
    counts = [line for line in text.splitlines() if line.startswith(counted)]
    assert len(counts) == 1
    assert f'http_route="{route}"' in counts[0]


@pytest.mark.parametrize("mounted", [False, True])
async def test_starlette_routes_and_mounts(*, mounted: bool) -> None:
    """Without FastAPI's help."""
    inside: list[Any] = [Route("/a/{x}", answer), Mount("/deep/{y}", routes=[Route("/b", answer)])]
    routes = [Mount("/m", routes=inside)] if mounted else inside
    guarded = Guard(metrics=Metrics(registry=CollectorRegistry()))(Starlette(routes=routes))
    prefix = "/m" if mounted else ""
    async with client(guarded) as http:
        for path in ("/a/1", "/a/2", "/deep/9/b", "/deep/8/b"):
            assert (await http.get(prefix + path)).status_code == 200
        text = (await http.get("/metrics")).text
    assert f'http_route="{prefix}/a/{{x}}"}} 2.0' in text
    assert f'http_route="{prefix}/deep/{{y}}/b"}} 2.0' in text


async def test_routes_and_mounts_of_a_host() -> None:
    """Which adds nothing to a template."""
    inside = [Route("/a/{x}", answer), Mount("/deep/{y}", routes=[Route("/b", answer)])]
    routes: list[Any] = [Host("{shop}.example.org", Router(inside)), Route("/a", answer)]
    guarded = Guard(metrics=Metrics(registry=CollectorRegistry()))(Starlette(routes=routes))
    async with client(guarded) as http:
        for url in ("http://ann.example.org/a/1", "http://bob.example.org/deep/1/b", "/a"):
            assert (await http.get(url)).status_code == 200
        await http.get("http://ann.example.org/deep/1/none")
        text = (await http.get("/metrics")).text
    for route in ("/a/{x}", "/deep/{y}/b", "/a", "/deep/{y}/{path}"):
        assert f'http_route="{route}"}} 1.0' in text
    assert "mount" not in text


async def test_a_sync_dependency_may_hold_a_block() -> None:
    """FastAPI enters and leaves it in two threads."""
    breaker = CircuitBreaker("payments")

    def guarded() -> Any:
        with breaker:
            yield

    app = FastAPI()
    app.get("/", dependencies=[Depends(guarded)])(_nothing)
    async with client(app) as http:
        for _ in range(3):
            assert (await http.get("/")).status_code == 200
    assert breaker.snapshot().success == 3


def _nothing() -> None: ...
