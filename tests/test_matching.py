"""Matching: which requests a pattern is meant for."""

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from asgi_guard.matching import Choice, Matcher, app_path, compile_matcher
from tests.driver import get, http_scope, websocket_scope


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/login", "/login", True),
        ("/login", "/login/", True),
        ("/login/", "/login", True),
        ("/login", "/login2", False),
        ("/login", "/Login", False),
        ("/", "/", True),
        ("/", "/a", False),
        ("/api/*", "/api", True),
        ("/api/*", "/api/", True),
        ("/api/*", "/api/a/b", True),
        ("/api/*", "/apis", False),
        ("/*", "/", True),
        ("/*", "/a", True),
        ("/users/{id}", "/users/7", True),
        ("/users/{id}", "/users/7/", True),
        ("/users/{id}", "/users/7/posts", False),
        ("/users/{id}", "/users/", False),
        ("/users/{id:int}", "/users/seven", False),
        ("/files/{name:path}", "/files/a/b", True),
        ("/users/{id}/*", "/users/7", True),
        ("/users/{id}/*", "/users/7/posts/1", True),
        ("/users/{id}/*", "/users", False),
        ("/a.b", "/aXb", False),
    ],
)
def test_patterns(pattern: str, path: str, *, matches: bool) -> None:
    """Exact paths, templates, and everything below."""
    matcher = compile_matcher("Rule", pattern, None)
    assert matcher is not None
    assert matcher(http_scope(path)) is matches


def test_no_pattern_and_no_methods_is_everything() -> None:
    """Then there is nothing to ask on each request."""
    assert compile_matcher("Rule", None, None) is None


def test_get_includes_head_and_the_handshake_of_a_websocket() -> None:
    """HEAD runs the handler of GET, and a handshake is a GET on the wire."""
    matcher = compile_matcher("Rule", None, {"GET"})
    assert matcher is not None
    assert matcher(http_scope(method="HEAD"))
    assert matcher(websocket_scope())
    assert not matcher(http_scope(method="POST"))


@pytest.mark.parametrize(
    ("root", "path", "seen"),
    [
        ("", "/a", "/a"),
        ("/v1", "/v1/a", "/a"),
        ("/v1", "/v1", "/"),
        ("/v1", "/v10/a", "/v10/a"),
        ("/v1", "/a", "/a"),
    ],
)
def test_paths_are_seen_below_the_root_path(root: str, path: str, seen: str) -> None:
    """As the app sees them, whether or not the server puts the root before the path."""
    assert app_path(http_scope(path, root_path=root)) == seen


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ("/files/{name:path}", "/files/"),
        ("/a/{p:path}/b", "/a//b"),
        ("/a/{p:path}/", "/a//"),
        ("/users/{id}", "/users/ "),
        ("/users/{id}", "/users/\t"),
    ],
)
async def test_what_a_route_serves_its_own_template_matches(template: str, path: str) -> None:
    """Convertors take what plain spelling takes away."""
    app = Starlette(routes=[Route(template, _answer)])
    assert (await get(path).run(app)).status == 200
    matcher = compile_matcher("Rule", template, None)
    assert matcher is not None
    assert matcher(http_scope(path))


async def _answer(request: Any) -> PlainTextResponse:
    return PlainTextResponse("in")


SPELLINGS = ["/login", "/login/", "/login\n", "//login", "///login", "/login//", "//login\n/"]
URLS = ["http://shop.example/login", "HTTPS://shop.example//login/", " /login", "\t/login "]


@pytest.mark.parametrize("path", [*SPELLINGS, *URLS])
@pytest.mark.parametrize("method", ["POST", "post", "pOST"])
def test_spellings_that_frameworks_serve_alike_are_matched_alike(path: str, method: str) -> None:
    """Litestar and Quart merge slashes, Django upper-cases methods, servers pass whole URLs on."""
    matcher = compile_matcher("Rule", "/login", {"POST"})
    assert matcher is not None
    assert matcher(http_scope(path, method))


@pytest.mark.parametrize("path", [*SPELLINGS, "/LOGIN", "/log%69n"])
async def test_no_spelling_gets_round_a_pattern(path: str) -> None:
    """Whatever Starlette serves as /login is matched as /login."""
    app = Starlette(routes=[Route("/login", _answer)])
    matcher = compile_matcher("Rule", "/login", None)
    assert matcher is not None
    if (await get(path).run(app)).status == 200:
        assert matcher(http_scope(path))


def choice_of(*patterns: tuple[str | None, set[str] | None]) -> Choice[int, tuple[int, ...]]:
    """Return a choice of numbers, one for each path and methods."""
    return Choice(
        (
            (compile_matcher("Rule", path, methods), number)
            for number, (path, methods) in enumerate(patterns)
        ),
        tuple,
    )


def test_a_choice_is_the_same_the_second_time() -> None:
    """It is remembered by all that decides: path, method, and what stands before the path."""
    choice = choice_of((None, None), ("/login", {"POST"}), ("/api/*", None))
    for _ in range(2):
        assert choice.of(http_scope("/login", method="POST")) == (0, 1)
        assert choice.of(http_scope("/login")) == (0,)
        assert choice.of(http_scope("/api/a")) == (0, 2)
        assert choice.of({**http_scope("/v1/api/a"), "root_path": "/v1"}) == (0, 2)
        assert choice.of(http_scope("/v1/api/a")) == (0,)
        assert choice.of(websocket_scope("/login")) == (0,)


def test_nothing_is_asked_where_nothing_is_to_choose() -> None:
    """What always applies is known beforehand."""
    assert choice_of((None, None), (None, None)).fixed == (0, 1)
    assert choice_of((None, None), ("/a", None)).fixed is None


def test_paths_that_clients_invent_are_forgotten() -> None:
    """The memory for choices is bounded, in number and in length."""
    asked: list[str] = []

    def watched(scope: Any) -> bool:
        asked.append(scope["path"])
        return True

    watch: Matcher = watched
    choice = Choice([(watch, 0)], tuple)
    for number in range(3000):
        choice.of(http_scope(f"/{number}"))
    assert len(choice) <= 1024
    long = "/" + "a" * 5000
    for _ in range(2):
        assert choice.of(http_scope(long)) == (0,)
    assert asked[-2:] == [long, long]


def test_methods_that_clients_invent_are_not_kept() -> None:
    """Neither are they long."""
    choice = choice_of((None, None), ("/a", {"POST"}))
    choice.of(http_scope("/a", method="X" * 5000))
    assert len(choice) == 0
