"""Metrics as a guard."""

import os
from dataclasses import dataclass, field
from time import perf_counter

from prometheus_client import REGISTRY, CollectorRegistry
from starlette.responses import Response

from asgi_guard._asgi import ASGIApp, Receive, Scope, Send, header_value
from asgi_guard._checks import check_endpoint
from asgi_guard.access import Access, compile_access
from asgi_guard.errors import ConfigurationError
from asgi_guard.exchange import Exchange
from asgi_guard.metrics.collector import collector_for
from asgi_guard.metrics.durations import OTHER_METHOD, SHORTEST, Row, bucket
from asgi_guard.metrics.exposition import Exposition, accepts_gzip
from asgi_guard.metrics.route_label import RouteLabels
from asgi_guard.ops import Answer, Endpoints, answer_forbidden
from asgi_guard.parts import Parts
from asgi_guard.shell import Admission, Layer, Shell

_CLIENT_LEFT = 499  # nginx's word for a client that did not wait
_SERVER_ERROR = 500
_MOST_ROWS = 1000

# What in a scope decides the label beside the route: a mount, an included router, the user's word,
# the template of a framework that leaves no route. What has one of these is not remembered; that
# it has one is looked for where the same route may come without it, too.
_DECIDERS = frozenset({"app_root_path", "asgi_guard.route", "fastapi", "path_template"})


@dataclass(frozen=True, slots=True)
class Metrics:
    """Measures every request, refused ones included, and answers `/metrics`.

    Requests are labelled by method, route template and status: a path that no route answers is
    `__unmatched__`, an unheard-of method `_OTHER`, so clients cannot invent labels. `GET` and
    `HEAD` of the path are answered by this guard, outside every limit, in the text format of
    Prometheus or in OpenMetrics, as the scraper asks.

    Args:
        path: Where to answer, below `root_path`; default `/metrics`.
        registry: The registry to report to; default: that of prometheus-client, so the app's own
            metrics are answered as well.
        access: Who may scrape: None (the default) for everybody, a bearer token, networks such as
            `["10.0.0.0/8"]`, or a function of the scope. Everybody else gets 403.

    Raises:
        ConfigurationError: A field is wrong, the registry has metrics of the same names, or
            `PROMETHEUS_MULTIPROC_DIR` is set, which this version cannot serve truthfully.
    """

    path: str = "/metrics"
    registry: CollectorRegistry | None = field(default=None, kw_only=True)
    access: Access = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        """Refuse what cannot be served."""
        check_endpoint("Metrics.path", self.path)
        if self.registry is not None and not isinstance(self.registry, CollectorRegistry):
            raise ConfigurationError(
                "Metrics.registry",
                self.registry,
                "a CollectorRegistry of prometheus-client, or None",
            )
        compile_access("Metrics.access", self.access)
        collector_for(self.registry or REGISTRY)
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            raise ConfigurationError(
                "PROMETHEUS_MULTIPROC_DIR",
                os.environ["PROMETHEUS_MULTIPROC_DIR"],
                "unset: each worker answers for itself, and a merged answer would leave out the "
                "guards; give every worker a port of its own to be scraped on",
            )

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        return Shell(self, app, [Endpoints(MetricsEndpoint(self).answers), MetricsLayer(self)])


class MetricsEndpoint:
    """The endpoint of a `Metrics` round one app.

    Attributes:
        answers: What answers, by path.
    """

    def __init__(self, settings: Metrics) -> None:
        self._access = compile_access("Metrics.access", settings.access)
        self._exposition = Exposition(settings.registry or REGISTRY)
        self.answers: dict[str, Answer] = {settings.path: self._scrape}

    async def _scrape(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._access is not None and not self._access(scope):
            return await answer_forbidden(scope, receive, send)
        accept = (header_value(scope, b"accept") or b"").decode("latin-1")
        compressed = accepts_gzip(header_value(scope, b"accept-encoding") or b"")
        body, content_type = await self._exposition.render(accept, compressed=compressed)
        headers = {"content-type": content_type, "cache-control": "no-store"}
        headers["vary"] = "Accept, Accept-Encoding"
        if compressed:
            headers["content-encoding"] = "gzip"
        return await Response(body, headers=headers)(scope, receive, send)


class MetricsLayer(Layer):
    """`Metrics` round one app, as it measures.

    Args:
        settings: Where to report.
        parts: What to report beside durations, once `report` is called; default None: nothing.
    """

    def __init__(self, settings: Metrics, parts: Parts | None = None) -> None:
        self._collector = collector_for(settings.registry or REGISTRY)
        self._durations = self._collector.durations
        self._labels = RouteLabels()
        self._rows: dict[tuple[int, str, int], Row] = {}
        self._routes: list[object] = []
        self._active = self._durations.active
        self._measuring = (self._measure,)
        self._parts = parts or Parts()

    def report(self, in_place_of: "MetricsLayer | None" = None) -> None:
        """Have the parts reported while this app lives, and those of another layer no more."""
        # The collector holds them weakly.
        known = in_place_of is not None and in_place_of._collector is self._collector
        self._collector.add(self._parts, in_place_of._parts if in_place_of and known else None)
        if in_place_of is not None and not known:
            in_place_of.end_report()

    def end_report(self) -> None:
        """Have the parts reported no more."""
        self._collector.remove(self._parts)

    def admit(self, exchange: Exchange) -> Admission:
        """Begin to measure."""
        active = self._active
        method = exchange.scope["method"]
        if method not in active:
            method = OTHER_METHOD
        active[method] += 1
        exchange.method = method
        exchange.began = perf_counter()
        exchange.at_end += self._measuring
        return None

    def _measure(self, exchange: Exchange) -> None:
        seconds = (exchange.ended or perf_counter()) - exchange.began
        method = exchange.method
        self._active[method] -= 1
        status = exchange.status or (_CLIENT_LEFT if exchange.cancelled else _SERVER_ERROR)
        scope = exchange.scope
        row = self._rows.get((id(scope.get("route")), method, status))
        if row is None or (
            "app_root_path" in scope or "asgi_guard.route" in scope or "fastapi" in scope
        ):
            row = self._row(scope, method, status)
        row[0] += seconds
        row[1 if seconds <= SHORTEST else bucket(seconds)] += 1

    def _row(self, scope: Scope, method: str, status: int) -> Row:
        """Return the series that a request belongs to, and remember it where the route tells it.

        It is remembered by the identity of the route that answered (FastAPI's cannot be hashed),
        and the route is kept, so that no other gets that identity.
        """
        row = self._durations.row((method, self._labels.of(scope), status))
        route = scope.get("route")
        if route is not None and _DECIDERS.isdisjoint(scope) and len(self._rows) < _MOST_ROWS:
            self._rows[id(route), method, status] = row
            self._routes.append(route)
        return row
