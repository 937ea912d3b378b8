"""A guarded app with a known past, and a Prometheus that scrapes it."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from tests.processes import HOST, Children, free_port, unavailable, until

_PAST = (
    *(("GET", f"/items/{number}", 200 if number < 3 else 429) for number in range(5)),
    ("POST", "/hold", 200),
    ("POST", "/pay", 200),
    ("POST", "/pay", 503),
    ("GET", "/no-such-path/of/a/scanner", 404),
)


@pytest.fixture(scope="session")
def shop(children: Children) -> str:
    """Return the URL of the app; what happened in it is `_PAST` and nothing else."""
    port = free_port()
    url = f"http://{HOST}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOP_DATABASE", f"sqlite+aiosqlite:///{children.folder / 'shop.db'}")
        children.python(
            "shop",
            *("uvicorn", "tests.scrape.shop:app", "--host", HOST, "--port", port),
            ready=lambda: httpx.get(f"{url}/livez", trust_env=False),
        )
    with httpx.Client(base_url=url, trust_env=False) as client:
        for method, path, status in _PAST:
            assert client.request(method, path).status_code == status, (method, path)
    return url


@pytest.fixture(scope="session")
def prometheus(children: Children, shop: str) -> Iterator["Prometheus"]:
    """Return a Prometheus that has scraped the app; the first time takes it about six seconds."""
    program = shutil.which("prometheus") or unavailable("Prometheus (apt-get install prometheus)")
    port = free_port()
    folder = children.folder / "prometheus"
    folder.mkdir()
    target = {"targets": [shop.removeprefix("http://")]}
    scrape = {"job_name": "shop", "static_configs": [target]}
    settings = {"global": {"scrape_interval": "500ms"}, "scrape_configs": [scrape]}
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(settings))  # which is YAML as well
    with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False) as client:
        child = children.start(
            "prometheus",
            [
                *(program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"),
                *(f"--web.listen-address={HOST}:{port}", "--log.level=warn"),
            ],
            lambda: client.get("/-/ready").raise_for_status(),
            folder=folder,
        )
        started = Prometheus(client)
        until(lambda: started.ask('up{job="shop"}') == 1, within=30, alive=child, pause=0.1)
        yield started


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    client: httpx.Client

    def ask(self, query: str) -> float | None:
        """Return the one value a query has, or None when it has none."""
        answer = self.client.get("/api/v1/query", params={"query": query}).raise_for_status()
        found = answer.json()["data"]["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None
