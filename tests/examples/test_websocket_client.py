"""The feed is killed and comes back: the client shows old news meanwhile, and then new ones."""

from typing import Any

import httpx
import pytest

from tests.processes import HOST, Child, Children, free_port, until


def test_it_finds_the_feed_again(
    children: Children, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says how old its news are while it is gone."""
    port, own = free_port(), free_port()
    monkeypatch.setenv("FEED", f"ws://{HOST}:{port}")
    feed = _serve(children, "_feed", port)
    app = _serve(children, "websocket_client", own)

    def shown() -> dict[str, Any]:
        answer: dict[str, Any] = http.get(f"http://{HOST}:{own}/").raise_for_status().json()
        return answer

    until(lambda: 0 <= shown()["age"] < 1.0)
    feed.process.kill()
    feed.process.wait(10)
    until(lambda: shown()["age"] > 1.5)
    old = shown()["price"]
    until(lambda: shown()["circuit"] != "closed", within=30)
    assert shown()["price"] == old
    again = _serve(children, "_feed", port)
    until(lambda: shown()["age"] < 1.0, within=30)
    until(lambda: shown()["circuit"] == "closed", within=30)
    for child in (app, again):
        child.stop()
        assert "Traceback" not in child.tail()


def _serve(children: Children, name: str, port: int) -> Child:
    return children.python(
        f"example-{name}",
        *("uvicorn", f"examples.{name}:app", "--host", HOST, "--port", port),
        ready=lambda: httpx.get(f"http://{HOST}:{port}/", trust_env=False),
    )
