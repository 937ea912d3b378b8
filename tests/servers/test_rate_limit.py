"""Quotas, as a client of a real server sees them."""

from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from socket import socket

import httpx
import pytest

from tests.processes import HOST
from tests.servers.guarded_app import QUOTA
from tests.servers.serving import Served


def use_up(http: httpx.Client, served: Served, client: str) -> None:
    """Spend the quota of a client."""
    for _ in range(QUOTA):
        answer = http.get(f"{served.url}/plain", headers={"x-client": client})
        assert answer.status_code == 200


def test_an_admitted_request_is_told_its_quota(
    served: Served, http: httpx.Client, token: str
) -> None:
    """A 200 carries both RateLimit fields of the draft, counting down."""
    left = [
        http.get(f"{served.url}/plain", headers={"x-client": token}).headers for _ in range(QUOTA)
    ]
    assert [each["ratelimit-policy"] for each in left] == [f'"named";q={QUOTA};w=3600'] * QUOTA
    assert [each["ratelimit"].rpartition(";t=")[0] for each in left] == [
        f'"named";r={QUOTA - 1 - spent}' for spent in range(QUOTA)
    ]


def test_a_refused_request_is_told_when_to_come_back(
    served: Served, http: httpx.Client, token: str
) -> None:
    """A 429 is a problem document that names the rule, with Retry-After, and is kept by nobody."""
    use_up(http, served, token)
    refused = http.get(f"{served.url}/plain", headers={"x-client": token})
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 3600
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["cache-control"] == "no-store"
    assert refused.headers["ratelimit"].startswith('"named";r=0;t=')
    assert refused.json()["status"] == 429
    assert refused.json()["violated-policies"] == ["named"]


def test_probes_and_scrapes_have_no_quota(served: Served, http: httpx.Client, token: str) -> None:
    """A client over its quota still gets liveness, readiness, the report and the metrics."""
    use_up(http, served, token)
    for path in ("/livez", "/readyz", "/health", "/metrics"):
        answer = http.get(f"{served.url}{path}", headers={"x-client": token})
        assert answer.status_code == 200, path
        assert "ratelimit" not in answer.headers


def test_a_refused_connection_stays_usable(served: Served, http: httpx.Client, token: str) -> None:
    """After refusals of GET and HEAD the same connection answers the next request."""
    use_up(http, served, token)
    connection = HTTPConnection(HOST, served.port, timeout=20)
    try:
        connection.connect()
        first: socket | None = connection.sock
        for method in ("GET", "HEAD", "HEAD", "GET"):
            answer, body = ask(connection, method, "/plain", token)
            assert answer.status == 429
            assert (body == b"") == (method == "HEAD")
            assert int(answer.headers["content-length"]) == len(body) or method == "HEAD"
        answer, body = ask(connection, "GET", "/livez")
        assert (answer.status, body) == (200, b'{"status": "pass"}')
        assert connection.sock is first
    finally:
        connection.close()


@pytest.mark.parametrize("times", [1, 2_000])
def test_a_refused_body_is_not_taken_for_a_request(
    served: Served, http: httpx.Client, token: str, times: int
) -> None:
    """After a refused POST comes the right answer or the end, never an answer to its body."""
    use_up(http, served, token)
    smuggled = b"GET /livez HTTP/1.1\r\n\r\n" * times
    connection = HTTPConnection(HOST, served.port, timeout=20)
    try:
        assert ask(connection, "POST", "/plain", token, smuggled)[0].status == 429
        with suppress(ConnectionError):  # servers may close on a body that nobody reads
            answer, body = ask(connection, "POST", "/plain", body=b"four")
            assert (answer.status, body) == (200, b"4")
    finally:
        connection.close()
    assert http.post(f"{served.url}/plain", content=b"four").json() == 4


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health", "/metrics"])
def test_head_of_an_ops_endpoint_has_no_body(served: Served, path: str) -> None:
    """HEAD of an ops endpoint is answered without a body, and the connection goes on."""
    connection = HTTPConnection(HOST, served.port, timeout=20)
    try:
        for _ in range(2):
            answer, body = ask(connection, "HEAD", path)
            assert (answer.status, body) == (200, b"")
        answer, body = ask(connection, "GET", "/plain")
        assert (answer.status, body) == (200, b"0")
    finally:
        connection.close()


def ask(
    connection: HTTPConnection, method: str, path: str, client: str = "", body: bytes = b""
) -> tuple[HTTPResponse, bytes]:
    """Ask on this very connection."""
    headers = {"x-client": client} if client else {}
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    return answer, answer.read()
