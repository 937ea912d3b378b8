"""Guards for ASGI apps: a guard is a frozen value; calling it with an app returns an app."""

from asgi_guard.breaker.attempt import Attempt
from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.breaker.guard import Breakers
from asgi_guard.breaker.shared import SharedBreakers
from asgi_guard.breaker.snapshot import BreakerSnapshot
from asgi_guard.breaker.states import BreakerState, Cause, Outcome, Transition
from asgi_guard.concurrency.guard import ConcurrencyLimit
from asgi_guard.concurrency.permits import Permits, PermitsSnapshot
from asgi_guard.downstream.answer import Answer
from asgi_guard.downstream.downstream import Downstream
from asgi_guard.downstream.priority import Priority
from asgi_guard.downstream.reconnect import reconnecting
from asgi_guard.downstream.slot import Slot
from asgi_guard.downstream.snapshot import DownstreamSnapshot
from asgi_guard.errors import (
    CallTimeout,
    CircuitOpen,
    ConcurrencyExceeded,
    ConfigurationError,
    DownstreamBusy,
    FailedResult,
    GuardError,
    QuotaExceeded,
    ReconnectStopped,
    Rejected,
    StoreUnavailable,
)
from asgi_guard.guard import Guard
from asgi_guard.health.check import Check
from asgi_guard.health.guard import Health
from asgi_guard.keys import client_ip, combine, connection, header, path, user
from asgi_guard.metrics.guard import Metrics
from asgi_guard.proxies import TrustedProxies
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.guard import RateLimit
from asgi_guard.rate_limit.handler import rate_limited
from asgi_guard.rate_limit.limiter import RateLimiter
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.rules.rule import Rule
from asgi_guard.rate_limit.stores.memory import MemoryStore
from asgi_guard.rate_limit.stores.store import Charge, Store
from asgi_guard.rate_limit.switch import Switch
from asgi_guard.swappable import Swappable

__all__ = [
    "Answer",
    "Attempt",
    "Ban",
    "BreakerSnapshot",
    "BreakerState",
    "Breakers",
    "CallTimeout",
    "Cause",
    "Charge",
    "Check",
    "CircuitBreaker",
    "CircuitOpen",
    "ConcurrencyExceeded",
    "ConcurrencyLimit",
    "ConfigurationError",
    "Decision",
    "Downstream",
    "DownstreamBusy",
    "DownstreamSnapshot",
    "FailedResult",
    "Guard",
    "GuardError",
    "Health",
    "MemoryStore",
    "Metrics",
    "Outcome",
    "Permits",
    "PermitsSnapshot",
    "Priority",
    "Quota",
    "QuotaExceeded",
    "RateLimit",
    "RateLimiter",
    "ReconnectStopped",
    "Rejected",
    "Rule",
    "SharedBreakers",
    "Slot",
    "Store",
    "StoreUnavailable",
    "Swappable",
    "Switch",
    "Transition",
    "TrustedProxies",
    "client_ip",
    "combine",
    "connection",
    "header",
    "path",
    "rate_limited",
    "reconnecting",
    "user",
]
