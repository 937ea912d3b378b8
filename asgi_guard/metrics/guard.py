"""Metrics as a guard."""

import asyncio
import os
from dataclasses import dataclass, field
from time import perf_counter

from prometheus_client import REGISTRY, CollectorRegistry, Histogram
from starlette.responses import Response

from asgi_guard._asgi import ASGIApp, Message, Receive, Scope, Send, header_value
from asgi_guard._checks import check_endpoint
from asgi_guard.access import Access, compile_access
from asgi_guard.errors import ConfigurationError
from asgi_guard.matching import app_path
from asgi_guard.metrics.collector import ActiveRequests, collector_for
from asgi_guard.metrics.exposition import Exposition
from asgi_guard.metrics.route_label import RouteLabels
from asgi_guard.ops import answer_forbidden, answer_method, is_read
from asgi_guard.parts import Parts

_OTHER_METHOD = "_OTHER"
_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)
_MEASURED = "asgi_guard.measured"
_CLIENT_LEFT = 499  # nginx's word for a client that did not wait
_SERVER_ERROR = 500


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
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            raise ConfigurationError(
                "PROMETHEUS_MULTIPROC_DIR",
                os.environ["PROMETHEUS_MULTIPROC_DIR"],
                "unset: each worker answers for itself, and a merged answer would leave out the "
                "guards; give every worker a port of its own to be scraped on",
            )

    def __call__(self, app: ASGIApp) -> "MetricsShell":
        """Wrap an ASGI app."""
        return self.over(app, Parts())

    def over(self, app: ASGIApp, parts: Parts) -> "MetricsShell":
        """Wrap an ASGI app, and report the parts of its stack."""
        return MetricsShell(self, app, parts)


class MetricsShell:
    """The ASGI app that `Metrics` returns."""

    def __init__(self, settings: Metrics, app: ASGIApp, parts: Parts) -> None:
        registry = settings.registry or REGISTRY
        collector = collector_for(registry)
        self._app = app
        self._path = settings.path
        self._access = compile_access("Metrics.access", settings.access)
        self._exposition = Exposition(registry)
        self._durations = collector.durations
        self._children: dict[tuple[str, str, int], Histogram] = {}
        self._labels = RouteLabels()
        self._active = ActiveRequests((*_METHODS, _OTHER_METHOD))
        self._parts = parts  # the collector holds it weakly: it is reported while this app lives
        collector.add(parts, self._active)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a scrape, or measure a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif app_path(scope) == self._path:
            await self._answer(scope, receive, send)
        elif _MEASURED in scope:  # by another one further out, into the same registry or not
            await self._app(scope, receive, send)
        else:
            await self._measure(scope, receive, send)

    async def _measure(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method not in _METHODS:
            method = _OTHER_METHOD
        response = _Response(send)
        active = self._active.counts
        scope[_MEASURED] = True
        active[method] += 1
        began = perf_counter()
        try:
            await self._app(scope, receive, response)
        except asyncio.CancelledError:
            response.status = response.status or _CLIENT_LEFT
            raise
        finally:
            seconds = (response.ended or perf_counter()) - began
            active[method] -= 1
            del scope[_MEASURED]
            labels = (method, self._labels.of(scope), response.status or _SERVER_ERROR)
            (self._children.get(labels) or self._child(labels)).observe(seconds)

    def _child(self, labels: tuple[str, str, int]) -> Histogram:
        method, route, status = labels
        child = self._children[labels] = self._durations.labels(method, route, str(status))
        return child

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not is_read(scope):
            await answer_method(scope, receive, send)
        elif self._access is not None and not self._access(scope):
            await answer_forbidden(scope, receive, send)
        else:
            accept = (header_value(scope, b"accept") or b"").decode("latin-1")
            compressed = b"gzip" in (header_value(scope, b"accept-encoding") or b"")
            body, content_type = await self._exposition.render(accept, compressed=compressed)
            headers = {"content-type": content_type, "cache-control": "no-store"}
            headers["vary"] = "Accept, Accept-Encoding"
            if compressed:
                headers["content-encoding"] = "gzip"
            await Response(body, headers=headers)(scope, receive, send)


class _Response:
    """What is seen of one response on its way out."""

    __slots__ = ("_send", "ended", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.ended = 0.0

    def __call__(self, message: Message) -> object:
        kind = message["type"]
        if kind == "http.response.body":
            if not message.get("more_body", False):
                self.ended = perf_counter()
        elif kind == "http.response.start":
            self.status = message["status"]
        return self._send(message)
