"""The route label: which template a request was answered by.

It is read from the scope after the app has run, when the framework has left its traces there, and
is never found by matching again. What is not known is one constant, so that no client can invent
labels.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from starlette.routing import compile_path

from asgi_guard._asgi import Scope

UNMATCHED = "__unmatched__"
OVERFLOW = "__overflow__"
_UNKNOWN_MOUNT = "/{mount}"
_MOST_LABELS = 200
_LONGEST_LABEL = 200


class RouteLabels:
    """Route templates as label values, at most 200 of them.

    In order: `scope["asgi_guard.route"]`, for frameworks that leave no trace and for the user's own
    word; Litestar's `path_template`; the route of FastAPI and Starlette with its prefixes; the
    endpoint's route, found in the route table; what a mount holds, as `MOUNT/{path}`.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._table = _RouteTable(None)

    def of(self, scope: Scope) -> str:
        """Return the label of an answered request."""
        try:
            return self._bounded(self._template(scope))
        except Exception:  # noqa: BLE001 - routes are foreign objects; a label is not worth an error
            return UNMATCHED

    def _bounded(self, label: str | None) -> str:
        if label is None:
            return UNMATCHED
        if label not in self._known:
            label.encode()  # what cannot be written down is no label
            if len(self._known) >= _MOST_LABELS or len(label) > _LONGEST_LABEL:
                return OVERFLOW
            self._known.add(label)
        return label

    def _template(self, scope: Scope) -> str | None:
        told: str | None = scope.get("asgi_guard.route") or scope.get("path_template")
        if told:  # Litestar's is empty for what it has mounted
            return told
        endpoint = scope.get("endpoint")
        if endpoint is None:
            return None
        leaf = _leaf(scope)
        mounted = "app_root_path" in scope
        if leaf is not None and not mounted:
            return leaf
        table = self._table_of(scope)
        prefix = table.mount(scope) if mounted else ""
        if leaf is None:
            leaf = table.leaf(endpoint, scope)
            if leaf is not None:
                return leaf
            return f"{prefix}/{{path}}" if mounted else None
        return prefix + leaf

    def _table_of(self, scope: Scope) -> "_RouteTable":
        router = scope.get("router")
        if self._table.router is not router or self._table.is_stale():
            self._table = _RouteTable(router)
        return self._table


def _leaf(scope: Scope) -> str | None:
    """Return the template of the route that answered, below any mount; None if a mount did."""
    route = scope.get("route")
    if route is None or hasattr(route, "routes"):
        return None
    context = (scope.get("fastapi") or {}).get("effective_route_context")
    if context is not None and getattr(context, "original_route", None) is route:
        # The route of an included router does not know its prefix; this does.
        return _format(getattr(context, "starlette_route", None)) or _format(context)
    return _format(route)


def _format(route: object) -> str | None:
    return getattr(route, "path_format", None) or None


class _RouteTable:
    """The templates of a Starlette router by endpoint, and those of its mounts."""

    def __init__(self, router: Any) -> None:
        self.router = router
        self._length = len(getattr(router, "routes", ()))
        self._leaves: dict[int, list[tuple[re.Pattern[str], str]]] = {}
        self._mounts: list[tuple[re.Pattern[str], str]] = []
        self._walk(getattr(router, "routes", ()), "")

    def is_stale(self) -> bool:
        """Tell whether routes were added since the table was made."""
        return len(getattr(self.router, "routes", ())) != self._length

    def leaf(self, endpoint: object, scope: Scope) -> str | None:
        """Return the whole template of the route with this endpoint, and, of several, this path."""
        found = self._leaves.get(id(endpoint), [])
        if len(found) > 1:
            path = scope["path"].removeprefix(scope.get("app_root_path", ""))
            found = [(regex, template) for regex, template in found if regex.match(path)]
        return found[0][1] if found else None

    def mount(self, scope: Scope) -> str:
        """Return the template of the mounts a request went through."""
        concrete = scope["root_path"][len(scope["app_root_path"]) :]
        return next(
            (template for regex, template in self._mounts if regex.match(concrete)),
            _UNKNOWN_MOUNT,
        )

    def _walk(self, routes: Iterable[Any], prefix: str) -> None:
        for route in _flat(routes):
            template = _format(route)
            if template is None:
                self._walk(getattr(route, "routes", None) or (), prefix)  # what a host holds
            elif hasattr(route, "routes"):
                mount = prefix + template.removesuffix("/{path}")
                self._walk(route.routes or (), mount)
                self._mounts.append((compile_path(mount)[0], mount))
            elif getattr(route, "endpoint", None) is not None:
                whole = prefix + template
                self._leaves.setdefault(id(route.endpoint), []).append(
                    (compile_path(whole)[0], whole)
                )


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        contexts = getattr(route, "effective_route_contexts", None)  # FastAPI's included routers
        if contexts is None:
            yield route
        else:
            for context in contexts():
                yield getattr(context, "starlette_route", None) or context
