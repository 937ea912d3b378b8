"""From start to end: apps with a lifespan and without, and a clean exit."""

import signal

import httpx
import pytest

from tests.servers.serving import Served, Servers


def test_the_lifespan_reaches_the_app(kind: str, servers: Servers, http: httpx.Client) -> None:
    """The lifespan starts and ends, its state reaches requests, and SIGTERM ends cleanly."""
    served = servers.start(kind, "lifespans:told")
    assert "lifespan: started" in served.child.tail()
    assert answers(http, served) == [(200, '"from the lifespan"')] * 2 + [429]
    end(served)
    assert "lifespan: ended" in served.child.tail()


def test_an_app_without_a_lifespan_is_served(
    kind: str, servers: Servers, http: httpx.Client
) -> None:
    """An app that raises on the lifespan scope is served with all its guards."""
    served = servers.start(kind, "lifespans:bare")
    assert answers(http, served) == [(200, '"bare"')] * 2 + [429]
    assert http.get(f"{served.url}/health").json() == {"status": "pass"}
    served.child.stop()


@pytest.mark.parametrize("kind", ["uvicorn"])
def test_a_server_without_a_lifespan_is_enough(
    kind: str, servers: Servers, http: httpx.Client
) -> None:
    """Where the server sends no lifespan at all, every guard works from the first request on."""
    served = servers.start(kind, "lifespans:bare", "--lifespan", "off")
    assert answers(http, served) == [(200, '"bare"')] * 2 + [429]
    assert "asgi_guard_concurrency_in_flight" in http.get(f"{served.url}/metrics").text
    end(served)


def answers(http: httpx.Client, served: Served) -> list[object]:
    """Return what the app answers until the quota of two refuses."""
    found = [http.get(served.url) for _ in range(3)]
    return [each.status_code if each.is_error else (each.status_code, each.text) for each in found]


def end(served: Served) -> None:
    """End the server with SIGTERM, and find nothing in its log that sounds like trouble."""
    assert served.child.stop() in {0, -signal.SIGTERM}
    log = served.child.log.read_text().lower()
    for word in ("traceback", "exception", "never awaited", "destroyed but"):
        assert word not in log, log
