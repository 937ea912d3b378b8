"""A limit on functions that Starlette and FastAPI call: endpoints and dependencies of each kind."""

import asyncio
import inspect
import logging
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, Query
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from asgi_guard import ConcurrencyLimit, Guard, QuotaExceeded, RateLimit, Rule, rate_limited
from tests.driver import connect

WAYS = ["added", "round"]


def client(app: Any, way: str = "round", guard: Any = None) -> httpx.AsyncClient:
    """Return a client of the app with a guard; errors that reach the server are raised."""
    guard = guard or Guard()
    if way == "added":
        app.add_middleware(guard)
    guarded = app if way == "added" else guard(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(guarded), base_url="http://test")


async def statuses(http: httpx.AsyncClient, path: str, times: int) -> list[int]:
    """Ask several times."""
    return [(await http.get(path)).status_code for _ in range(times)]


class Report(HTTPEndpoint):
    """A class-based endpoint, of whose methods one is limited."""

    @rate_limited("2/hour")
    async def get(self, request: Request) -> PlainTextResponse:
        """Answer."""
        return PlainTextResponse("report")

    async def post(self, request: Request) -> PlainTextResponse:
        """Answer."""
        return PlainTextResponse("posted")


def plain() -> Any:
    """Return a Starlette app with every kind of endpoint."""

    @rate_limited("2/hour")
    async def asynchronous(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    @rate_limited("2/hour")
    def synchronous(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    @rate_limited("2/hour")
    async def deep(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    return Starlette(
        routes=[
            Route("/async", asynchronous),
            Route("/sync", synchronous),
            Route("/class", Report),
            Mount("/mount/{tenant}", Starlette(routes=[Route("/x", deep)])),
        ]
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("base", [False, True])
async def test_endpoints_of_starlette(way: str, *, base: bool) -> None:
    """Each has a quota of its own, also below the base class that half of all middleware has."""
    app = plain()
    if base:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_pass_on)
    async with client(app, way) as http:
        for path in ("/async", "/sync", "/mount/a/x"):
            assert await statuses(http, path, 3) == [200, 200, 429]
        assert (await http.post("/class")).text == "posted"


async def _pass_on(request: Request, call_next: Any) -> Any:
    return await call_next(request)


async def test_a_method_of_a_class() -> None:
    """The others are not limited, and nobody else's quota is touched."""
    async with client(plain()) as http:
        assert await statuses(http, "/class", 3) == [200, 200, 429]
        assert (await http.post("/class")).status_code == 200


@pytest.mark.parametrize("way", WAYS)
async def test_routes_of_fastapi(way: str) -> None:
    """With parameters, in included routers and in apps below: where others lose their limits."""
    app, sub, inner = FastAPI(), FastAPI(), APIRouter(prefix="/inner")

    @rate_limited("2/hour", "9/hour")
    async def item(number: int, q: Annotated[str, Query()] = "none") -> dict[str, Any]:
        return {"number": number, "q": q}

    @inner.get("/sync/{number}")
    @rate_limited("2/hour")
    def synchronous(number: int) -> int:
        return number

    app.get("/items/{number}")(item)
    sub.get("/items/{number}")(item)
    app.include_router(inner, prefix="/v1")
    app.mount("/sub", sub)
    async with client(app, way) as http:
        first = await http.get("/items/7?q=x")
        assert first.json() == {"number": 7, "q": "x"}
        assert first.headers["ratelimit"].count(";r=") == 2
        assert (await http.get("/items/x")).status_code == 422
        assert (await http.get("/sub/items/8")).json() == {"number": 8, "q": "none"}
        for path in ("/items/1", "/sub/items/1"):
            assert (await http.get(path)).status_code == 429
        assert await statuses(http, "/v1/inner/sync/1", 3) == [200, 200, 429]
    assert list(inspect.signature(item).parameters) == ["number", "q"]


@pytest.mark.parametrize("way", WAYS)
async def test_a_dependency(way: str) -> None:
    """Of a route, of a router with one quota for all in it, and of the whole app."""
    app = FastAPI(dependencies=[Depends(rate_limited(Rule("9/hour", name="app")))])
    router = APIRouter(dependencies=[Depends(rate_limited("3/hour"))])

    async def answer() -> str:
        return "in"

    def typed(limit: Annotated[None, Depends(rate_limited("1/hour"))]) -> str:
        return "in"

    tight = rate_limited("1/hour")
    app.get("/tight", dependencies=[Depends(tight)])(answer)
    app.get("/typed")(typed)
    router.get("/a")(answer)
    router.get("/b")(answer)
    app.include_router(router)
    async with client(app, way) as http:
        assert await statuses(http, "/tight", 2) == [200, 429]
        refused = await http.get("/tight")
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["ratelimit"].startswith('"1/hour tests.frameworks.test_rate_limit')
        assert '"app";r=6;' in refused.headers["ratelimit"]
        assert [(await http.get(path)).status_code for path in ("/a", "/b")] == [200, 200]
        assert await statuses(http, "/b", 2) == [200, 429]
        assert await statuses(http, "/typed", 2) == [200, 429]
        last = await http.get("/typed")
    assert '"app"' in last.text
    assert last.status_code == 429
    schema = app.openapi()["paths"]["/tight"]["get"]
    assert "parameters" not in schema


async def test_a_dependency_is_awaited_in_the_loop() -> None:
    """No thread is taken for it."""
    taken: list[object] = []
    loop = asyncio.get_running_loop()
    app = FastAPI()
    app.get("/", dependencies=[Depends(rate_limited("9/hour"))])(_nothing)
    original = loop.call_soon_threadsafe
    loop.call_soon_threadsafe = lambda *a, **k: taken.append(a) or original(*a, **k)  # type: ignore[method-assign,func-returns-value]
    try:
        async with client(app) as http:
            assert await statuses(http, "/", 1) == [200]
    finally:
        loop.call_soon_threadsafe = original  # type: ignore[method-assign]
    assert taken == []


async def _nothing() -> None: ...


@pytest.mark.parametrize(
    "guard",
    [
        Guard(),
        RateLimit("100/hour"),
        ConcurrencyLimit(1, max_waiting=0),
        Guard(rate_limit=RateLimit("100/hour"), concurrency=ConcurrencyLimit(1, max_waiting=0)),
    ],
    ids=["Guard", "RateLimit", "ConcurrencyLimit", "both"],
)
@pytest.mark.parametrize("way", WAYS)
async def test_any_guard_answers(way: str, guard: Any) -> None:
    """And gives back what it holds for a refused request."""
    app = FastAPI()
    app.get("/")(rate_limited("2/hour")(_nothing))
    async with client(app, way, guard) as http:
        assert await statuses(http, "/", 4) == [200, 200, 429, 429]


async def test_a_guard_on_the_route_itself() -> None:
    """It is one round the function, too; the field lines are its own."""

    @rate_limited("1/hour")
    async def report(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in")

    limits = [Middleware(RateLimit("9/hour"))]
    app = Starlette(routes=[Route("/", report, middleware=limits)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        assert await statuses(http, "/", 2) == [200, 429]


async def test_the_apps_own_answer_stands() -> None:
    """Whoever has an exception handler for it decides."""
    app = FastAPI()
    app.get("/")(rate_limited("1/hour")(_nothing))

    @app.exception_handler(QuotaExceeded)
    async def slow_down(request: Request, error: QuotaExceeded) -> PlainTextResponse:
        return PlainTextResponse(f"slow down, {error.rules[0]}", 420)

    async with client(app) as http:
        assert (await http.get("/")).status_code == 200
        refused = await http.get("/")
    assert refused.status_code == 420
    assert refused.text.startswith("slow down, 1/hour tests.frameworks")
    assert "ratelimit" in refused.headers


async def test_without_a_guard_the_server_says_what_is_missing() -> None:
    """Nobody is admitted unlimited by mistake."""
    app = FastAPI()
    app.get("/", dependencies=[Depends(rate_limited("1/hour"))])(_nothing)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        with pytest.raises(RuntimeError, match="There has to be a guard round the app"):
            await http.get("/")


@pytest.mark.parametrize("kind", ["starlette", "fastapi"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_background_task(kind: str, way: str) -> None:
    """It is charged; over quota, the error goes to the server, and the response stays."""

    @rate_limited("1/hour")
    async def remind() -> None: ...

    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse("in", background=BackgroundTask(remind))

    async def later(tasks: BackgroundTasks) -> str:
        tasks.add_task(remind)
        return "in"

    app: Any = Starlette(routes=[Route("/", plain)])
    if kind == "fastapi":
        app = FastAPI()
        app.get("/")(later)
    async with client(app, way) as http:
        assert (await http.get("/")).status_code == 200
        with pytest.raises(QuotaExceeded, match="The response has begun"):
            await http.get("/")


async def test_sockets(caplog: pytest.LogCaptureFixture) -> None:
    """Before the accept, by an endpoint as well as by a dependency; nothing is logged."""

    @rate_limited("1/hour")
    async def plain(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    async def fast(socket: WebSocket) -> None:
        await socket.accept()
        await socket.close()

    app = FastAPI(routes=[WebSocketRoute("/plain", plain)])
    app.websocket("/fast", dependencies=[Depends(rate_limited("1/hour"))])(fast)
    guarded = Guard()(app)
    with caplog.at_level(logging.INFO):
        for path in ("/plain", "/fast"):
            accepted, refused = await connect(path).run(guarded), await connect(path).run(guarded)
            assert accepted.sent[0]["type"] == "websocket.accept"
            assert refused.status == 429
            assert int(refused.headers["retry-after"]) >= 1
    assert caplog.records == []
