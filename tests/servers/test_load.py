"""That load from outside is counted as the app answers it."""

import time

from tests.load import NO_RESPONSE, hey
from tests.processes import EARLY, HOST, free_port
from tests.servers.guarded_app import QUOTA
from tests.servers.serving import Served, Servers


def test_a_quota_holds_under_load(idle: Served, token: str) -> None:
    """Whoever asks at once, no more get in than the quota holds."""
    counts = hey(f"{idle.url}/plain", 20, 4, headers={"x-client": token})
    assert counts == {200: QUOTA, 429: 20 - QUOTA}


def test_a_rate_is_kept(servers: Servers) -> None:
    """Requests are spread over the time that their rate says."""
    url = servers.get("uvicorn", "guarded_app:app").url
    began = time.monotonic()
    assert hey(f"{url}/livez", 10, 2, rate=20) == {200: 10}
    assert time.monotonic() - began >= 0.4 - EARLY


def test_what_is_not_answered_is_counted() -> None:
    """Nobody listens, so nothing is answered."""
    assert hey(f"http://{HOST}:{free_port()}/", 4, 2) == {NO_RESPONSE: 4}
