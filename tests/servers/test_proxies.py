"""Who the client is behind a real server, whatever that makes of proxies itself."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import Children
from tests.servers.serving import Servers

TRUSTING, ELSEWHERE = "proxied:trusting", "proxied:elsewhere"
REWRITES, DOES_NOT = "--proxy-headers", "--no-proxy-headers"


@pytest.fixture(params=[REWRITES, DOES_NOT, "--uds"])
def proxy(
    request: pytest.FixtureRequest, servers: Servers, children: Children, tmp_path: Path
) -> Iterator[httpx.Client]:
    """Return what passes requests on to the app, from this machine or through a Unix socket."""
    if request.param != "--uds":
        served = servers.start("uvicorn", TRUSTING, request.param)
        with httpx.Client(base_url=served.url, trust_env=False) as client:
            yield client
            served.child.stop()
        return
    path = str(tmp_path / "app")
    command = ["uvicorn", f"tests.servers.{TRUSTING}", "--uds", path]
    child = children.python("uvicorn-uds", *command, ready=lambda: connect(path))
    transport = httpx.HTTPTransport(uds=path)
    with httpx.Client(base_url="http://app", transport=transport) as client:
        yield client
    child.stop()


def connect(path: str) -> None:
    """Raise where nobody listens."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)


def visit(proxy: httpx.Client, *values: str) -> httpx.Response:
    """Pass a request on, with the field in as many lines."""
    return proxy.get("/", headers=[("x-forwarded-for", value) for value in values])


def test_the_client_is_whom_the_nearest_proxy_saw(proxy: httpx.Client) -> None:
    """Whatever he claims, in his own line or in front; with a port, and behind several proxies."""
    assert visit(proxy, "192.0.2.66, 203.0.113.1").text == "203.0.113.1 0"
    assert visit(proxy, "192.0.2.66", "203.0.113.2").text == "203.0.113.2 0"
    assert visit(proxy, "192.0.2.66, 203.0.113.3:4711").text == "203.0.113.3 4711"
    assert visit(proxy, "192.0.2.66, 2001:db8::1, 127.0.0.1").text == "2001:db8::1 0"


def test_every_client_has_a_quota_of_his_own(proxy: httpx.Client) -> None:
    """No claim gets him another one, and nobody else pays for him."""
    claims = ("192.0.2.1", "192.0.2.2", "127.0.0.1", "_x")
    statuses = [visit(proxy, f"{claim}, 203.0.113.4").status_code for claim in claims]
    assert statuses == [200, 200, 429, 429]
    assert visit(proxy, "203.0.113.5").status_code == 200


@pytest.mark.parametrize("rewrites", [REWRITES, DOES_NOT])
def test_a_field_of_a_stranger_is_told_once_and_not_believed(
    servers: Servers, http: httpx.Client, rewrites: str
) -> None:
    """Once in the log, unless the server has rewritten the address, and knows what it does."""
    served = servers.start("uvicorn", ELSEWHERE, rewrites)
    fields = {"x-forwarded-for": "203.0.113.7"}
    answers = {http.get(served.url, headers=fields).text.split()[0] for _ in range(3)}
    served.child.stop()
    told = served.child.log.read_text().count("AG001: x-forwarded-for came from 127.0.0.0/24")
    expected: tuple[str, int] = ("203.0.113.7", 0) if rewrites == REWRITES else ("127.0.0.1", 1)
    assert (*answers, told) == expected
