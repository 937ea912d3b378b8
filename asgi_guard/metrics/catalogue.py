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
RATE_LIMIT_BANS = Metric(
    "asgi_guard_rate_limit_bans_total",
    "counter",
    "Bans a rule began after repeated refusals, or would have begun.",
    ("rule",),
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
CIRCUIT_SLOW_CALLS = Metric(
    "asgi_guard_circuit_slow_calls_total", "counter", "Calls that were slow.", ("breaker",)
)
CIRCUIT_LATE_RESULTS = Metric(
    "asgi_guard_circuit_late_results_total",
    "counter",
    "Calls that ended after the state had changed.",
    ("breaker",),
)
CIRCUIT_LEASES_EXPIRED = Metric(
    "asgi_guard_circuit_leases_expired_total", "counter", "Trials taken back.", ("breaker",)
)
CIRCUIT_WOULD_TRIP = Metric(
    "asgi_guard_circuit_would_trip_total",
    "counter",
    "Trips that metrics-only has spared.",
    ("breaker",),
)
CIRCUIT_OPEN_SECONDS = Metric(
    "asgi_guard_circuit_open_seconds_total", "counter", "Seconds it was open.", ("breaker",)
)
CIRCUIT_FALLBACKS = Metric(
    "asgi_guard_circuit_fallbacks_total", "counter", "Fallbacks by result.", ("breaker", "result")
)
CIRCUIT_WINDOW_CALLS = Metric(
    "asgi_guard_circuit_window_calls", "gauge", "Calls in its window now.", ("breaker",)
)
CIRCUIT_WINDOW_FAILURES = Metric(
    "asgi_guard_circuit_window_failure_ratio",
    "gauge",
    "Failures by calls in its window.",
    ("breaker",),
    "max",
)
CIRCUIT_WINDOW_SLOW = Metric(
    "asgi_guard_circuit_window_slow_ratio",
    "gauge",
    "Slow calls by calls in its window.",
    ("breaker",),
    "max",
)
CIRCUIT_CHILDREN = Metric(
    "asgi_guard_circuit_children", "gauge", "Breakers of keys by state.", ("breaker", "state")
)
CIRCUIT_TOO_LATE = Metric(
    "asgi_guard_circuit_edge_too_late_total",
    "counter",
    "Refusals that met a response that had begun.",
    (),
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
