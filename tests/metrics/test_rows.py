"""Rows: a route that has answered before is known again, and never taken for another."""

import gc
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from httpx import ASGITransport, AsyncClient
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_guard import Metrics
from tests.driver import get, hello


def counts(registry: CollectorRegistry) -> dict[str, float]:
    """Return the number of requests by route."""
    return {
        sample.labels["http_route"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "http_server_request_duration_seconds_count"
    }


def shop() -> tuple[Any, CollectorRegistry]:
    """Return an app of which one route can be reached in four ways."""
    registry = CollectorRegistry()
    router = APIRouter()

    @router.get("/items/{number}")
    async def item(number: int, request: Request, word: str | None = None) -> int:
        if word is not None:
            request.scope["asgi_guard.route"] = word
        return number

    inner = FastAPI()
    inner.router.routes.extend(router.routes)
    app = FastAPI()
    app.router.routes.extend(router.routes)
    app.include_router(router, prefix="/v1")
    app.mount("/inner", inner)
    return Metrics(registry=registry)(app), registry


WAYS = {
    "/items/1": "/items/{number}",
    "/v1/items/1": "/v1/items/{number}",
    "/inner/items/1": "/inner/items/{number}",
    "/items/1?word=mine": "mine",
}


@pytest.mark.parametrize("way", WAYS)
async def test_one_route_in_several_ways_is_several_rows(way: str) -> None:
    """Whichever way came first, and however often."""
    app, registry = shop()
    async with AsyncClient(transport=ASGITransport(app), base_url="http://shop") as http:
        for url in (way, *WAYS, way):
            assert (await http.get(url)).json() == 1
    assert counts(registry) == {label: 1 + 2 * (url == way) for url, label in WAYS.items()}


class _Route:
    def __init__(self, path: str) -> None:
        self.path_format = path


async def test_a_route_that_is_gone_is_not_taken_for_a_new_one() -> None:
    """Which would be made where the old one was in memory, if that had been given back."""
    registry = CollectorRegistry()
    known: set[int] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tried: list[_Route] = []
        while len(tried) < 1000 and (not tried or id(tried[-1]) not in known):
            tried.append(_Route(scope["path"]))
        known.add(id(tried[-1]))
        scope["endpoint"], scope["route"] = app, tried[-1]
        await hello(scope, receive, send)

    guarded = Metrics(registry=registry)(app)
    for number in range(5):
        await get(f"/{number}").run(guarded)
        gc.collect()
    assert counts(registry) == {f"/{number}": 1 for number in range(5)}


async def test_a_mounted_route_is_not_taken_for_the_same_one_outside() -> None:
    """A mount leaves no more in the scope than the path that it has taken off."""
    registry = CollectorRegistry()
    route = _Route("/one")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["endpoint"], scope["route"] = app, route
        if scope["path"] == "/mounted/one":
            scope["app_root_path"], scope["root_path"] = "", "/mounted"
            scope["router"] = Starlette(routes=[Mount("/mounted", app)])
        await hello(scope, receive, send)

    guarded = Metrics(registry=registry)(app)
    for path in ("/one", "/mounted/one", "/one"):
        await get(path).run(guarded)
    assert counts(registry) == {"/one": 2, "/mounted/one": 1}
