"""A `CircuitOpen` that escapes a handler, on a real server, whichever way the guard was added."""

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.servers.reading import read
from tests.servers.serving import Served, Servers


@pytest.fixture(params=["app", "added"])
def tripped(
    kind: str, servers: Servers, http: httpx.Client, request: pytest.FixtureRequest
) -> Served:
    """Return the app, wrapped or with middleware added, after its downstream has failed."""
    served = servers.get(kind, f"guarded_app:{request.param}")
    http.post(f"{served.url}/downstream/trip").raise_for_status()
    return served


def test_an_open_circuit_is_answered(tripped: Served, http: httpx.Client) -> None:
    """A handler that meets an open circuit becomes 503 with Retry-After, naming no downstream."""
    answer = http.get(f"{tripped.url}/downstream")
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 720
    assert answer.headers["content-type"] == "application/problem+json"
    assert "downstream" not in answer.text


def test_an_open_circuit_refuses_a_websocket(tripped: Served) -> None:
    """A websocket that meets an open circuit before it is accepted is denied with 503."""
    with pytest.raises(InvalidStatus) as refused, connect(f"{tripped.websocket_url}/ws/downstream"):
        pass
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1


def test_other_errors_stay_what_they_are(tripped: Served, http: httpx.Client) -> None:
    """An error of the app is the framework's 500, and is measured as one."""
    name, labels = "http_server_request_duration_seconds_count", {"http_route": "/broken"}
    before = read(http, tripped.url).value(name, **labels) or 0
    # Servers break a connection off on which an app has raised, so it is not to be used again.
    once = {"connection": "close"}
    assert http.get(f"{tripped.url}/broken", headers=once).status_code == 500
    labels["http_response_status_code"] = "500"
    assert read(http, tripped.url).value(name, **labels) == before + 1


def test_an_open_circuit_is_shown(tripped: Served, http: httpx.Client) -> None:
    """Metrics and report show the open circuit, and readiness does not fail with it."""
    labels = {"breaker": "downstream", "state": "open"}
    assert read(http, tripped.url).value("asgi_guard_circuit_state", **labels) == 1
    report = http.get(f"{tripped.url}/health")
    assert report.status_code == 200
    assert report.json()["checks"]["circuit:downstream"] == {"status": "warn", "state": "open"}
    assert http.get(f"{tripped.url}/readyz").json() == {"status": "pass"}
