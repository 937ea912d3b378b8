"""Matching: which requests something applies to.

Patterns are matched against the path as the app sees it (without `root_path`). No route of any
framework is looked up: what a framework would answer with 404 is matched like everything else.
"""

import re
from collections.abc import Callable, Iterable
from typing import Generic, TypeAlias, TypeVar

from starlette.routing import compile_path

from asgi_guard._asgi import Scope
from asgi_guard.errors import ConfigurationError

Matcher: TypeAlias = Callable[[Scope], bool]
PathTest: TypeAlias = Callable[[str], bool]
T = TypeVar("T")
C = TypeVar("C")

_MOST_KNOWN = 1024
_LONGEST_KNOWN = 128

_PATTERNS = (
    "a path from the root: '/login' exactly, '/users/{id}' with one segment for id, "
    "'/files/{name:path}', or '/api/*' for /api and everything below, as the app sees it: decoded, "
    "without query, white space or doubled slashes; leave it out for every path"
)
_METHOD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_PATTERN = re.compile(r"/(?!/)([^?#%\s/]/?)*")
_SLASHES = re.compile("/{2,}")
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*")
_NO_PART_OF_A_PATH = "/ \t\r\n\v\f"


def app_path(scope: Scope) -> str:
    """Return the path below `root_path`, in the plainest spelling that an app may serve alike.

    A slash at the end does not count, nor does white space round the path (Starlette's routes let
    a line feed pass), several slashes are one, and of a whole URL, as a client may send it, only
    the path counts.
    """
    return _plain(_below_root(scope))


def _below_root(scope: Scope) -> str:
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in {"", "/"}:
        return path[len(root) :]
    return path


def _plain(path: str) -> str:
    if path[:1] != "/" or "//" in path:
        path = _SLASHES.sub("/", _AUTHORITY.sub("", path.strip()))
    return path.rstrip(_NO_PART_OF_A_PATH) or "/"


def compile_matcher(owner: str, path: str | None, methods: Iterable[str] | None) -> Matcher | None:
    """Turn a pattern and methods into a test of the scope; None means that everything matches."""
    test = None if path is None else _compile_path(f"{owner}.path", path)
    allowed = None if methods is None else check_methods(f"{owner}.methods", methods)
    if test is None and allowed is None:
        return None
    if "GET" in (allowed or ()):
        allowed = (allowed or frozenset()) | {"HEAD"}  # frameworks answer HEAD with the GET handler

    def matches(scope: Scope) -> bool:
        # A websocket handshake is a GET on the wire, and says so in no other way.
        if allowed is not None and scope.get("method", "GET").upper() not in allowed:
            return False
        if test is None:
            return True
        # A limit must hold for every spelling that an app may serve: as it came, and plainly.
        path = _below_root(scope)
        return test(path) or test(_plain(path))

    return matches


def compile_exact_path(field: str, pattern: str) -> Matcher:
    """Turn a pattern into a test for what is exempt from a limit.

    A slash at the end does not count; any other spelling must match as it came, as well as
    plainly: an app may serve it as something that is not exempt.
    """
    test = _compile_path(field, pattern)

    def matches(scope: Scope) -> bool:
        path = _below_root(scope)
        return test(path.rstrip("/") or "/") and test(_plain(path))

    return matches


class Choice(Generic[T, C]):
    """Which of several things apply to a request, remembered for the paths asked for last.

    Args:
        items: The things in order, each with its matcher; None for what always applies.
        make: Makes of those that apply, in order, what is wanted; it must not be None.

    Attributes:
        fixed: What is made of all things, where there is nothing to choose.
    """

    def __init__(
        self, items: Iterable[tuple[Matcher | None, T]], make: Callable[[tuple[T, ...]], C]
    ) -> None:
        self._items = tuple(items)
        self._make = make
        self._known: dict[tuple[str, str, str], C] = {}
        chooses = any(matches is not None for matches, _ in self._items)
        self.fixed: C | None = None if chooses else make(tuple(item for _, item in self._items))

    def of(self, scope: Scope) -> C:
        """Return what is made of the things that apply to a request."""
        asked = (scope["path"], scope.get("method", ""), scope.get("root_path", ""))
        chosen = self._known.get(asked)
        return self._choose(scope, asked) if chosen is None else chosen

    def __len__(self) -> int:
        """Return the number of choices remembered."""
        return len(self._known)

    def _choose(self, scope: Scope, asked: tuple[str, str, str]) -> C:
        chosen = self._make(
            tuple(item for matches, item in self._items if matches is None or matches(scope))
        )
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()  # whoever invents paths makes others slower by a few regexes
        if sum(len(part) for part in asked) <= _LONGEST_KNOWN:
            self._known[asked] = chosen
        return chosen


def check_methods(field: str, methods: object) -> frozenset[str]:
    """Return the methods in upper case; refuse what is no collection of method names."""
    if isinstance(methods, str) or not isinstance(methods, Iterable):
        raise ConfigurationError(field, methods, "a set of method names such as {'POST'}, or None")
    names = list(methods)
    if not names or not all(isinstance(name, str) and _METHOD.fullmatch(name) for name in names):
        raise ConfigurationError(field, methods, "a set of method names such as {'POST'}, or None")
    return frozenset(name.upper() for name in names)


def _compile_path(field: str, pattern: object) -> PathTest:
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        raise ConfigurationError(field, pattern, _PATTERNS)
    below = pattern.endswith("/*")
    stem = (pattern[:-2] if below else pattern).rstrip("/")
    if "*" in stem:
        raise ConfigurationError(field, pattern, _PATTERNS)
    if "{" in stem or "}" in stem:
        return _compile_template(field, pattern, stem, below=below)
    if below:
        prefix = f"{stem}/"
        return lambda path: path.startswith(prefix) or path == stem or path == "/" == prefix
    exact = stem or "/"
    return lambda path: path == exact


def _compile_template(field: str, pattern: str, stem: str, *, below: bool) -> PathTest:
    try:
        expression, path_format, _ = compile_path(stem)
    except (AssertionError, ValueError) as error:
        raise ConfigurationError(field, pattern, f"{_PATTERNS} ({error})") from error
    if stem.count("{") != path_format.count("{") or re.search(r"\\[{}]", expression.pattern):
        raise ConfigurationError(field, pattern, _PATTERNS)
    if below:
        expression = re.compile(f"{expression.pattern.removesuffix('$')}(/.*)?$", re.DOTALL)
    return lambda path: expression.match(path) is not None


def spellings(paths: Iterable[str]) -> frozenset[str]:
    """Return the ways of writing these paths: a cheap first test where there is no root path."""
    return frozenset(spelling for path in paths for spelling in (path, f"{path}/"))
