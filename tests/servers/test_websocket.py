"""Websockets through the guard on a real server."""

import json

import httpx
import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.http11 import Response
from websockets.sync.client import connect

from tests.servers.guarded_app import QUOTA
from tests.servers.reading import permits
from tests.servers.serving import KINDS, Served, Servers


def test_a_websocket_passes(idle: Served, http: httpx.Client) -> None:
    """Messages go both ways, and an open websocket holds no permit."""
    with connect(f"{idle.websocket_url}/ws/echo") as socket:
        for text in ("one", "two"):
            socket.send(text)
            assert socket.recv(timeout=20) == text
        assert permits(http, idle.url) == (0, 0)


def test_a_handshake_over_quota_is_denied(served: Served, token: str) -> None:
    """A handshake counts as a request, and over the quota it is denied with the same answer."""
    response = refused(served, token)
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 3600
    assert response.headers["content-type"] == "application/problem+json"
    assert json.loads(response.body or b"")["violated-policies"] == ["named"]


def test_a_websocket_that_says_too_much_is_closed(served: Served) -> None:
    """With 1008, after as many messages as the quota has; the next connection has its own."""
    for _ in range(2):
        with connect(f"{served.websocket_url}/ws/few") as socket:
            for _ in range(QUOTA):
                socket.send("one")
                assert socket.recv(timeout=20) == "one"
            socket.send("one too many")
            with pytest.raises(ConnectionClosedError) as error:
                socket.recv(timeout=20)
            assert error.value.rcvd is not None
            assert error.value.rcvd.code == 1008


@pytest.mark.parametrize("kind", sorted({*KINDS} - {"granian"}))  # it drops the fields of an accept
def test_an_accepted_handshake_is_told_its_quota(served: Served, token: str) -> None:
    """The response that accepts a handshake carries the RateLimit fields."""
    with connect(
        f"{served.websocket_url}/ws/echo", additional_headers={"x-client": token}
    ) as socket:
        assert socket.response is not None
        assert socket.response.headers["ratelimit"].startswith(f'"named";r={QUOTA - 1};t=')


@pytest.mark.parametrize("kind", ["uvicorn", "hypercorn"])
def test_without_the_denial_response_a_handshake_gets_403(
    kind: str, servers: Servers, token: str
) -> None:
    """Where a server offers no denial response, closing before the accept makes it answer 403."""
    assert refused(servers.get(kind, "guarded_app:undeniable"), token).status_code == 403


def refused(served: Served, client: str) -> Response:
    """Use the quota up with handshakes, and return the answer to one more."""
    url, headers = f"{served.websocket_url}/ws/echo", {"x-client": client}
    for _ in range(QUOTA):
        with connect(url, additional_headers=headers):
            pass
    with pytest.raises(InvalidStatus) as error, connect(url, additional_headers=headers):
        pass
    return error.value.response
