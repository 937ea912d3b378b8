"""What a real Prometheus has read off a guarded app."""

import pytest

from tests.scrape.conftest import Prometheus

REQUESTS = "http_server_request_duration_seconds"
DECISIONS = "asgi_guard_rate_limit_decisions_total"
STATE = "asgi_guard_circuit_state"
POOL = "asgi_guard_db_pool"


def test_the_target_is_up(prometheus: Prometheus) -> None:
    """The scrape succeeds, without an error or a sample that Prometheus would not take."""
    targets = prometheus.client.get("/api/v1/targets").raise_for_status().json()["data"]
    (target,) = targets["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    scraped = prometheus.ask("scrape_samples_scraped")
    assert scraped is not None
    assert scraped > 50
    assert prometheus.ask("scrape_samples_post_metric_relabeling") == scraped


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (f'{REQUESTS}_count{{http_route="/items/{{item}}",http_response_status_code="200"}}', 3),
        (f'{REQUESTS}_count{{http_response_status_code="429"}}', 2),
        (f'{REQUESTS}_count{{http_route="/pay",http_response_status_code="503"}}', 1),
        (f'{REQUESTS}_count{{http_route="__unmatched__",http_response_status_code="404"}}', 1),
        (f"sum({REQUESTS}_count)", 9),
        (f'sum({REQUESTS}_bucket{{le="+Inf"}})', 9),
        (f'{DECISIONS}{{rule="items",decision="allowed"}}', 3),
        (f'{DECISIONS}{{rule="items",decision="denied"}}', 2),
        (f'{STATE}{{breaker="payments",state="open"}}', 1),
        (f"sum({STATE})", 1),
        ('asgi_guard_circuit_calls_total{outcome="failure"}', 1),
        ('asgi_guard_circuit_calls_total{outcome="not_permitted"}', 1),
        ('asgi_guard_concurrency_limit{limiter="requests"}', 8),
        ('asgi_guard_concurrency_in_flight{limiter="requests"}', 0),
        (f'{POOL}_connections{{pool="main",state="used"}}', 1),
        (f'{POOL}_connections{{pool="main",state="idle"}}', 0),
        (f'{POOL}_limit{{pool="main"}}', 5),
        (f'{POOL}_saturation_ratio{{pool="main"}}', 0.2),
        ("shop_orders_total", 3),
    ],
)
def test_what_happened_is_what_is_read(prometheus: Prometheus, query: str, value: float) -> None:
    """A query for each part of the guard, and for the app's own metric, has the exact value."""
    assert prometheus.ask(query) == value


def test_durations_are_a_histogram(prometheus: Prometheus) -> None:
    """A quantile can be computed from the buckets, and it is a time that passed."""
    median = prometheus.ask(f"histogram_quantile(0.5, sum by (le) ({REQUESTS}_bucket))")
    assert median is not None
    assert 0 < median < 10


def test_scrapes_are_no_requests(prometheus: Prometheus) -> None:
    """Neither scrapes nor probes are measured as requests."""
    assert prometheus.ask(f'{REQUESTS}_count{{http_route=~"/metrics|/livez"}}') is None
