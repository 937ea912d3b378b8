"""The metrics: their names, labels and senses."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric that is computed at scrape.

    Attributes:
        name: Its name; a counter's ends in `_total`.
        kind: Counter or gauge.
        help: Its sense, in a few words.
        labels: The names of its labels.
        merge: What stands for several stacks with the same labels in one process.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: tuple[str, ...]
    merge: Literal["sum", "max"] = "sum"


REQUEST_DURATION = "http_server_request_duration_seconds"
REQUEST_DURATION_HELP = "Seconds from the request to the last byte of its response."
REQUEST_DURATION_LABELS = ("http_request_method", "http_route", "http_response_status_code")

ACTIVE_REQUESTS = Metric(
    "http_server_active_requests", "gauge", "Requests inside now.", ("http_request_method",)
)
RATE_LIMIT_DECISIONS = Metric(
    "asgi_guard_rate_limit_decisions_total",
    "counter",
    "Requests a rule allowed, denied, or would have denied, or that were exempt from it.",
    ("rule", "decision"),
)
CONCURRENCY_LIMIT = Metric(
    "asgi_guard_concurrency_limit", "gauge", "Permits there are.", ("limiter",)
)
CONCURRENCY_IN_FLIGHT = Metric(
    "asgi_guard_concurrency_in_flight", "gauge", "Permits held now.", ("limiter",)
)
CONCURRENCY_QUEUED = Metric(
    "asgi_guard_concurrency_queued", "gauge", "Requests waiting for a permit now.", ("limiter",)
)
CONCURRENCY_REJECTIONS = Metric(
    "asgi_guard_concurrency_rejections_total",
    "counter",
    "Requests refused for want of a permit.",
    ("limiter", "reason"),
)
CIRCUIT_STATE = Metric(
    "asgi_guard_circuit_state", "gauge", "1 for the state it is in.", ("breaker", "state"), "max"
)
CIRCUIT_TRANSITIONS = Metric(
    "asgi_guard_circuit_transitions_total",
    "counter",
    "Changes of state.",
    ("breaker", "from_state", "to_state"),
)
CIRCUIT_CALLS = Metric(
    "asgi_guard_circuit_calls_total", "counter", "Calls by outcome.", ("breaker", "outcome")
)
CLIENT_IN_FLIGHT = Metric(
    "asgi_guard_client_in_flight", "gauge", "Calls to a downstream now.", ("client",)
)
CLIENT_QUEUE_DEPTH = Metric(
    "asgi_guard_client_queue_depth", "gauge", "Calls that wait for their turn now.", ("client",)
)
CLIENT_STARTS = Metric(
    "asgi_guard_client_starts_total", "counter", "Calls begun, retries included.", ("client",)
)
CLIENT_QUEUE_WAITS = Metric(
    "asgi_guard_client_queue_waits_total", "counter", "Calls that had to wait.", ("client",)
)
CLIENT_QUEUE_WAIT_SECONDS = Metric(
    "asgi_guard_client_queue_wait_seconds_total", "counter", "Seconds they waited.", ("client",)
)
CLIENT_QUEUE_REJECTED = Metric(
    "asgi_guard_client_queue_rejected_total",
    "counter",
    "Calls refused before they began.",
    ("client", "reason"),
)
CLIENT_RETRIES = Metric(
    "asgi_guard_client_retries_total", "counter", "Further attempts of calls.", ("client",)
)
CLIENT_FALLBACKS = Metric(
    "asgi_guard_client_fallbacks_total",
    "counter",
    "Results that something else stood in for.",
    ("client", "source"),
)
POOL_CONNECTIONS = Metric(
    "asgi_guard_db_pool_connections", "gauge", "Open connections.", ("pool", "state")
)
POOL_LIMIT = Metric(
    "asgi_guard_db_pool_limit", "gauge", "The most connections held at once.", ("pool",)
)
POOL_SIZE = Metric(
    "asgi_guard_db_pool_size", "gauge", "Connections kept when nobody needs them.", ("pool",)
)
POOL_WAITERS = Metric(
    "asgi_guard_db_pool_waiters", "gauge", "Callers inside an acquire now.", ("pool",)
)
POOL_SATURATION = Metric(
    "asgi_guard_db_pool_saturation_ratio", "gauge", "Used by limit.", ("pool",), "max"
)
POOL_TIMEOUTS = Metric(
    "asgi_guard_db_pool_timeouts_total", "counter", "Acquires that ended in vain.", ("pool",)
)
