"""The concurrency cap on a real server: who runs, waits or is refused, and when permits return."""

from concurrent.futures import Future, ThreadPoolExecutor

import httpx

from tests.processes import until
from tests.servers.guarded_app import PERMITS, QUEUE
from tests.servers.reading import Gate, permits, read, until_permits
from tests.servers.serving import Served


def hold(threads: ThreadPoolExecutor, gate: Gate, times: int) -> list["Future[httpx.Response]"]:
    """Send requests that are answered when the gate opens."""
    url = f"{gate.url}/hold/{gate.token}"
    return [threads.submit(gate.http.get, url) for _ in range(times)]


def test_some_run_some_wait_and_the_rest_are_refused(
    idle: Served, http: httpx.Client, gate: Gate, threads: ThreadPoolExecutor
) -> None:
    """With every permit held and the queue full, a request gets 503; those that waited get 200."""
    before = read(http, idle.url)
    running = hold(threads, gate, PERMITS)
    until_permits(http, idle.url, PERMITS)
    waiting = hold(threads, gate, QUEUE)
    until_permits(http, idle.url, PERMITS, QUEUE)
    assert gate.waiting() == PERMITS

    refused = http.get(f"{idle.url}/plain")
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["content-type"] == "application/problem+json"

    gate.open()
    assert [each.result().status_code for each in running + waiting] == [200] * (PERMITS + QUEUE)
    name, labels = "asgi_guard_concurrency_rejections_total", {"limiter": "requests"}
    counted = (before.value(name, **labels) or 0) + 1
    assert read(http, idle.url).value(name, **labels) == counted


def test_probes_and_scrapes_are_answered_while_the_app_is_full(
    idle: Served, http: httpx.Client, gate: Gate, threads: ThreadPoolExecutor
) -> None:
    """Liveness, readiness, report and metrics need no permit, and the report shows the full cap."""
    held = hold(threads, gate, PERMITS + QUEUE)
    until_permits(http, idle.url, PERMITS, QUEUE)
    assert http.get(f"{idle.url}/plain").status_code == 503
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        assert http.get(f"{idle.url}{path}").status_code == 200, path
    report = http.get(f"{idle.url}/health").json()
    assert report["status"] == "warn"
    assert report["checks"]["concurrency:requests"] == {
        "status": "warn",
        "in_flight": PERMITS,
        "limit": PERMITS,
        "waiting": QUEUE,
    }
    gate.open()
    assert {each.result().status_code for each in held} == {200}


def test_a_wait_in_vain_is_refused(
    idle: Served, http: httpx.Client, gate: Gate, threads: ThreadPoolExecutor
) -> None:
    """Whoever has waited as long as is allowed gets 503, is counted, and leaves the queue."""
    held = threads.submit(http.get, f"{idle.url}/brief/{gate.token}")
    until(lambda: gate.waiting() == 1)
    before = brief_timeouts(http, idle)
    refused = http.get(f"{idle.url}/brief/{gate.token}")
    assert refused.status_code == 503
    assert brief_timeouts(http, idle) == before + 1
    assert read(http, idle.url).value("asgi_guard_concurrency_queued", limiter="brief") == 0
    gate.open()
    assert held.result().status_code == 200


def test_a_stream_holds_its_permit_until_the_last_byte(
    idle: Served, http: httpx.Client, gate: Gate
) -> None:
    """A response that has begun still holds its permit; the end of it gives the permit back."""
    with http.stream("GET", f"{idle.url}/stream/{gate.token}") as response:
        chunks = response.iter_text()
        assert next(chunks) == "first "
        assert permits(http, idle.url) == (1, 0)
        gate.open()
        assert "".join(chunks) == "last"
    until_permits(http, idle.url, 0)


def test_a_client_that_leaves_a_stream_gives_its_permit_back(
    idle: Served, http: httpx.Client, gate: Gate
) -> None:
    """The permit of a broken-off stream returns though the app was still waiting to send."""
    with http.stream("GET", f"{idle.url}/stream/{gate.token}") as response:
        chunks = response.iter_text()
        assert next(chunks) == "first "
        assert permits(http, idle.url) == (1, 0)
    until_permits(http, idle.url, 0)
    active = read(http, idle.url).value("http_server_active_requests", http_request_method="GET")
    assert active == 0


def test_a_background_task_holds_no_permit(idle: Served, http: httpx.Client, gate: Gate) -> None:
    """The permit is back while the background task runs, and so is the connection."""
    assert http.get(f"{idle.url}/background/{gate.token}").text == "done"
    until(lambda: gate.waiting() == 1)
    assert permits(http, idle.url) == (0, 0)
    assert http.get(f"{idle.url}/plain").status_code == 200


def brief_timeouts(http: httpx.Client, served: Served) -> float:
    """Return how many waits at the brief cap were in vain."""
    name = "asgi_guard_concurrency_rejections_total"
    return read(http, served.url).value(name, limiter="brief", reason="timeout") or 0
