"""The one configuration object."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from asgi_guard._asgi import ASGIApp
from asgi_guard._checks import check_name
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.guard import Breakers
from asgi_guard.breaker.registration import begin_work
from asgi_guard.concurrency.guard import ConcurrencyLimit
from asgi_guard.downstream.downstream import Downstream
from asgi_guard.downstream.registered import check_downstreams, with_theirs
from asgi_guard.errors import ConfigurationError
from asgi_guard.health.guard import Health
from asgi_guard.metrics.guard import Metrics
from asgi_guard.pools.snapshot import PoolSource
from asgi_guard.proxies import TrustedProxies
from asgi_guard.rate_limit.guard import RateLimit
from asgi_guard.shell import Shell
from asgi_guard.stack import Stack

_KINDS: dict[str, type] = {
    "proxies": TrustedProxies,
    "health": Health,
    "metrics": Metrics,
    "rate_limit": RateLimit,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """All guards round one app. The order of the fields is the stack, outermost first.

    Proxies come first: everything else must see the client. Health and metrics are next: a probe
    and a scrape must be answered while everything inside refuses. The rate limit comes before the
    concurrency cap: to refuse is cheap and must not occupy a permit. Breakers are innermost,
    closest to the code that calls downstream. Who wants another order nests guards by hand; each
    of them stands alone.

    Calling it with an ASGI app returns an ASGI app, with state of its own.

    Args:
        proxies: Puts the client's address in the scope where a trusted proxy tells it; default
            None: the client is the peer of the connection.
        health: Answers probes; default None: not at all.
        metrics: Measures requests and answers scrapes; default None: not at all.
        rate_limit: Refuses clients over their quota, with 429; default None: nobody.
        concurrency: Caps the requests inside at once, the rest get 503; one guard, or a sequence of
            them, outermost first; default none.
        breakers: The circuit breakers that the app uses: what they refuse becomes 503, and
            metrics and health show them; default none.
        downstreams: The downstreams that the app calls: what they refuse becomes 503, and metrics
            and health show them, and their breakers; default none.
        pools: SQLAlchemy engines by name, sync or async, for metrics and health to show; no layer
            of the stack; default none.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    proxies: TrustedProxies | None = None
    health: Health | None = None
    metrics: Metrics | None = None
    rate_limit: RateLimit | None = None
    concurrency: ConcurrencyLimit | Sequence[ConcurrencyLimit] | None = None
    breakers: Sequence[CircuitBreaker] = ()
    downstreams: Sequence[Downstream] = ()
    pools: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what is no stack."""
        for name, kind in _KINDS.items():
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(f"Guard.{name}", value, f"a {kind.__name__}(...) or None")
        if self.health is not None and self.metrics is not None:
            asked = (self.health.live, self.health.ready, self.health.report)
            if self.metrics.path in asked:
                raise ConfigurationError(
                    "Metrics.path", self.metrics.path, f"a path that is none of {', '.join(asked)}"
                )
        object.__setattr__(self, "concurrency", _caps(self.concurrency))
        downstreams = check_downstreams("Guard.downstreams", self.downstreams)
        breakers = Breakers(self.breakers).breakers
        Breakers(with_theirs(breakers, downstreams))
        object.__setattr__(self, "breakers", breakers)
        object.__setattr__(self, "downstreams", downstreams)
        object.__setattr__(self, "pools", MappingProxyType(_engines(self.pools)))

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """Wrap an ASGI app in every guard that is set."""
        stack = stack_of(self)
        stack.begin()
        shell = Shell(self, app, stack.layers)
        begin_work(shell)
        return shell


def stack_of(guard: Guard, before: Stack | None = None) -> Stack:
    """Return the stack of a guard for one app, which may follow another one."""
    return Stack(
        proxies=guard.proxies,
        health=guard.health,
        metrics=guard.metrics,
        rate_limit=guard.rate_limit,
        concurrency=_caps(guard.concurrency),
        breakers=with_theirs(guard.breakers, guard.downstreams),
        downstreams=tuple(guard.downstreams),
        pools=_watch(guard.pools),
        before=before,
    )


def _caps(concurrency: object) -> tuple[ConcurrencyLimit, ...]:
    if concurrency is None:
        return ()
    caps = concurrency if isinstance(concurrency, list | tuple) else (concurrency,)
    names: set[str] = set()
    for cap in caps:
        if not isinstance(cap, ConcurrencyLimit):
            raise ConfigurationError(
                "Guard.concurrency", cap, "a ConcurrencyLimit(...), a sequence of them, or None"
            )
        if cap.label in names:
            raise ConfigurationError(
                "ConcurrencyLimit.name", cap.label, "a name= that no other cap of this Guard has"
            )
        names.add(cap.label)
    return tuple(caps)


def _engines(pools: object) -> dict[str, Any]:
    if not isinstance(pools, Mapping):
        raise ConfigurationError("Guard.pools", pools, "a mapping from names to engines")
    for name, engine in pools.items():
        check_name("Guard.pools", name)
        _sqlalchemy().sync_engine(f"Guard.pools[{name!r}]", engine)
    return dict(pools)


def _watch(pools: Mapping[str, Any]) -> dict[str, PoolSource]:
    return {name: _sqlalchemy().watch_engine(engine) for name, engine in pools.items()}


def _sqlalchemy() -> Any:
    try:
        from asgi_guard.pools import sqlalchemy  # noqa: PLC0415 - an extra, wanted only with engines
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "Guard.pools", "engines", "nothing, until `pip install asgi-guard[sqlalchemy]`"
        ) from error
    return sqlalchemy
