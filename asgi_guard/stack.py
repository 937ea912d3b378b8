"""The stack of one guard round one app: its layers, and what they leave to those that follow."""

from collections.abc import Mapping, Sequence

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.guard import BreakersLayer
from asgi_guard.concurrency.guard import ConcurrencyLayer, ConcurrencyLimit
from asgi_guard.concurrency.permits import Permits  # noqa: TC001
from asgi_guard.downstream.downstream import Downstream
from asgi_guard.health.guard import Health, HealthEndpoints
from asgi_guard.metrics.guard import Metrics, MetricsEndpoint, MetricsLayer
from asgi_guard.ops import Answer, Endpoints
from asgi_guard.parts import Parts
from asgi_guard.pools.snapshot import PoolSource
from asgi_guard.proxies import ProxiesLayer, TrustedProxies
from asgi_guard.rate_limit.books import Books  # noqa: TC001
from asgi_guard.rate_limit.guard import RateLimit
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.presence import Presence  # noqa: TC001
from asgi_guard.shell import Layer  # noqa: TC001

_MOST_PERMITS = 1000  # that are remembered by name


class Stack:
    """The layers of one guard round one app.

    It touches nothing of the stack that it follows before `begin` is called.

    Args:
        proxies: The layers, outermost first, as in `Guard`.
        health: As there.
        metrics: As there.
        rate_limit: As there.
        concurrency: As there.
        breakers: As there, with those of downstreams.
        downstreams: As there.
        pools: The watched pools, by name.
        before: The stack that it follows, whose state goes on where both have it; default None.

    Attributes:
        books: Where the rate limit counts, or that of a stack before did.
        presence: Counts the requests that may use what the rate limit has open; None for nothing.
        layers: The layers, outermost first.
    """

    def __init__(
        self,
        *,
        proxies: TrustedProxies | None,
        health: Health | None,
        metrics: Metrics | None,
        rate_limit: RateLimit | None,
        concurrency: Sequence[ConcurrencyLimit],
        breakers: Sequence[CircuitBreaker],
        downstreams: Sequence[Downstream],
        pools: Mapping[str, PoolSource],
        before: "Stack | None" = None,
    ) -> None:
        self._before = before
        self._limit = None if rate_limit is None else _limit(rate_limit, before)
        self.books: Books | None = before.books if before is not None else None
        self.presence: Presence | None = None
        if self._limit is not None:
            self.books = self._limit.books
            self.presence = self.books.presence if self._limit.has_open else None
        self._permits: dict[str, Permits] = {} if before is None else dict(before._permits)
        self._caps = [self._cap(each) for each in concurrency]
        limits = () if self._limit is None else (self._limit,)
        self._edge = _edge(before) if breakers or downstreams else None
        parts = Parts(
            rate_limits=limits,
            concurrency=tuple(self._caps),
            breakers=tuple(breakers),
            downstreams=tuple(downstreams),
            pools=pools,
            edge=self._edge,
        )
        self._metrics = None if metrics is None else MetricsLayer(metrics, parts)
        answers: dict[str, Answer] = {}
        self._health: HealthEndpoints | None = None
        if health is not None:
            known = None if before is None else before._health
            self._health = HealthEndpoints(health, parts, known)
            answers |= self._health.answers
        if metrics is not None:
            answers |= MetricsEndpoint(metrics).answers
        self._proxies = None if proxies is None else _proxies(proxies, before)
        outer: list[Layer | None] = [self._proxies, Endpoints(answers) if answers else None]
        inner: list[Layer | None] = [self._metrics, self._limit, *self._caps, self._edge]
        self.layers: list[Layer] = [layer for layer in [*outer, *inner] if layer is not None]

    def begin(self) -> None:
        """Report the parts, and take over what the stack before has left; from any thread."""
        before, self._before = self._before, None
        for cap in self._caps:
            cap.fit_permits()
        left = None if before is None else before._metrics
        if self._metrics is not None:
            self._metrics.report(left)
        elif left is not None:
            left.end_report()
        if before is not None and before._limit is not None:
            books = before._limit.books
            if self._limit is None or self._limit.books is not books:
                books.retire()

    def _cap(self, settings: ConcurrencyLimit) -> ConcurrencyLayer:
        """Put a cap to work, with the permits that one of its name has had."""
        layer = ConcurrencyLayer(settings, self._permits.get(settings.label))
        if layer.owns_permits:
            self._permits.pop(layer.name, None)  # to be the last: the oldest are dropped
            self._permits[layer.name] = layer.permits
        if len(self._permits) > _MOST_PERMITS:
            del self._permits[next(iter(self._permits))]
        return layer


def _limit(settings: RateLimit, before: Stack | None) -> RateLimitLayer:
    if before is None or before.books is None:
        return RateLimitLayer(settings)
    if before._limit is not None and before._limit.settings == settings:
        return before._limit
    return RateLimitLayer(settings, before.books.under(settings))


def _edge(before: Stack | None) -> BreakersLayer:
    known = None if before is None else before._edge
    return BreakersLayer() if known is None else known


def _proxies(settings: TrustedProxies, before: Stack | None) -> ProxiesLayer:
    known = None if before is None else before._proxies
    return known if known is not None and known.settings == settings else ProxiesLayer(settings)
