"""The running parts of one stack: what readers read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.guard import BreakersLayer
from asgi_guard.concurrency.guard import ConcurrencyLayer
from asgi_guard.downstream.downstream import Downstream
from asgi_guard.pools.snapshot import PoolSource
from asgi_guard.rate_limit.layer import RateLimitLayer


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Parts:
    """Everything in one stack that counts, by what it is.

    Attributes:
        rate_limits: The rate limits.
        concurrency: The concurrency caps.
        breakers: The circuit breakers.
        downstreams: The downstreams.
        pools: The watched pools, by name.
        edge: What answers for breakers at the edge; None where nothing does.
    """

    rate_limits: tuple[RateLimitLayer, ...] = ()
    concurrency: tuple[ConcurrencyLayer, ...] = ()
    breakers: tuple[CircuitBreaker, ...] = ()
    downstreams: tuple[Downstream, ...] = ()
    pools: Mapping[str, PoolSource] = field(default_factory=dict)
    edge: BreakersLayer | None = None
