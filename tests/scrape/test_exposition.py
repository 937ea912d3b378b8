"""The exposition itself: well-formed, and in the format and encoding that the scraper asks for."""

import gzip
import shutil
import subprocess
from collections.abc import Iterable
from http.client import HTTPConnection

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.processes import unavailable

# What Prometheus 2.42 sends.
SCRAPER = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # noqa: E501
OPEN_SECONDS = "asgi_guard_circuit_open_seconds_total"
OURS = {
    "http_server_request_duration_seconds",
    "http_server_active_requests",
    "asgi_guard_rate_limit_decisions",
    "asgi_guard_concurrency_in_flight",
    "asgi_guard_circuit_state",
    "asgi_guard_db_pool_connections",
}


@pytest.mark.parametrize("accept", [None, "text/plain", "*/*"])
def test_promtool_finds_nothing_to_say(shop: str, http: httpx.Client, accept: str | None) -> None:
    """`promtool check metrics` accepts the text format without an error or a warning."""
    program = shutil.which("promtool") or unavailable("promtool (apt-get install prometheus)")
    answer = http.get(f"{shop}/metrics", headers={"accept": accept} if accept else {})
    assert answer.headers["content-type"].startswith("text/plain; version=")
    command = [program, "check", "metrics"]
    checked = subprocess.run(command, input=answer.content, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_openmetrics_for_who_asks(shop: str, http: httpx.Client) -> None:
    """A scraper that asks as Prometheus does gets OpenMetrics, ended as OpenMetrics is."""
    answer = http.get(f"{shop}/metrics", headers={"accept": SCRAPER})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert {family.name for family in _parse_openmetrics(answer.text)} >= OURS


def test_both_formats_say_the_same(shop: str, http: httpx.Client) -> None:
    """The samples of the guard are the same in both formats."""
    found = []
    for accept, parse in ((SCRAPER, _parse_openmetrics), ("*/*", parse_text)):
        families = parse(http.get(f"{shop}/metrics", headers={"accept": accept}).text)
        samples = [sample for each in families for sample in each.samples]
        ours = [each for each in samples if each.name.startswith("asgi_guard_")]
        ours = [each for each in ours if each.name != OPEN_SECONDS]  # which go on meanwhile
        found.append({(each.name, *sorted(each.labels.items())): each.value for each in ours})
    assert found[0] == found[1]
    assert len(found[0]) > 20


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [("gzip", True), ("gzip, deflate, br", True), ("identity", False), ("gzip;q=0", False)],
)
def test_gzip_for_who_asks(shop: str, encoding: str, compressed: bool) -> None:
    """The body is compressed for who takes gzip and for nobody else, and caches are told."""
    host, _, port = shop.removeprefix("http://").partition(":")
    connection = HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request("GET", "/metrics", headers={"accept-encoding": encoding})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    assert (answer.headers["content-encoding"] == "gzip") is compressed
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(body)
    text = (gzip.decompress(body) if compressed else body).decode()
    assert {family.name for family in parse_text(text)} >= OURS


def _parse_openmetrics(text: str) -> Iterable[Metric]:
    families: Iterable[Metric] = parse_openmetrics(text)  # type: ignore[no-untyped-call]
    return families
