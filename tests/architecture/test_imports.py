"""Who may import whom."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import imports, modules

FOUNDATION = {"_asgi", "_clock", "_checks", "errors"}
SHARED = {
    "access",
    "callback",
    "current",
    "escaped",
    "exchange",
    "forwarded",
    "kept",
    "keys",
    "matching",
    "networks",
    "ops",
    "proxies",
    "redis_urls",
    "refusal",
    "shell",
}
DOERS = {"breaker", "concurrency", "pools", "rate_limit"}
READERS = {"health", "metrics"}
PURE = {
    "breaker.machine",
    "breaker.opening",
    "breaker.shared_machine",
    "breaker.shared_trials",
    "breaker.slow",
    "breaker.states",
    "breaker.statuses",
    "breaker.thresholds",
    "breaker.trials",
    "breaker.window",
    "downstream.backoff",
    "downstream.order",
    "downstream.priority",
    "downstream.spacing",
    "pools.snapshot",
    "rate_limit.algorithms",
    "rate_limit.decision",
    "rate_limit.stores.shards",
}
THIRD_PARTY = {
    "aiohttp": {"downstream.aiohttp"},
    "httpx": {"downstream.httpx"},
    "httpx2": {"downstream.httpx2"},
    "limits": {
        "rate_limit.stores.limits",
        "rate_limit.stores.limits_desk",
        "rate_limit.stores.limits_storages",
        "rate_limit.stores.limits_windows",
        "rate_limit.quota",
    },
    "prometheus_client": READERS,
    "redis": {
        "breaker.redis",
        "downstream.redis",
        "rate_limit.stores.redis",
        "rate_limit.stores.redis_client",
        "redis_urls",
    },
    "sqlalchemy": {"downstream.sqlalchemy", "pools.sqlalchemy", "health.sqlalchemy"},
    "starlette": SHARED | READERS,
}


def rank(room: str) -> int:
    """Return how far up a room lies: it may import what lies lower."""
    order = [FOUNDATION, SHARED, DOERS, {"downstream"}, {"parts"}, READERS, {"stack"}, {"guard"}]
    order += [{"swappable"}, {"__init__", "testing"}]
    return next(number for number, rooms in enumerate(order) if room in rooms)


@pytest.mark.parametrize(("name", "file"), modules().items(), ids=list(modules()))
def test_imports_point_down(name: str, file: Path) -> None:
    """A room imports itself and lower rooms; doers and readers never their like."""
    room = name.partition(".")[0]
    for imported in imports(file):
        if imported.startswith("asgi_guard."):
            other = imported.split(".")[1]
            assert other == room or rank(other) < rank(room) or {room, other} <= FOUNDATION | SHARED
            if {room, other} <= DOERS or {room, other} <= READERS:
                assert other == room, f"{name} imports {imported}"


@pytest.mark.parametrize("name", sorted(PURE))
def test_pure_cores_know_nothing(name: str) -> None:
    """The standard library, the errors and their own slice; no loop, no clock, no log."""
    own = f"asgi_guard.{name.partition('.')[0]}."
    for imported in imports(modules()[name]):
        allowed = imported in {"asgi_guard.errors", "asgi_guard._checks"}
        standard = imported.partition(".")[0] in sys.stdlib_module_names
        assert allowed or standard or imported.startswith(own)
        assert imported not in {"asyncio", "time", "threading", "logging"}


@pytest.mark.parametrize(("name", "file"), modules().items(), ids=list(modules()))
def test_third_parties_have_their_places(name: str, file: Path) -> None:
    """What is not needed to start is imported only in files named after it."""
    for imported in imports(file):
        party = imported.partition(".")[0]
        if party == "asgi_guard" or party in sys.stdlib_module_names:
            continue
        places = THIRD_PARTY[party]
        assert name in places or name.partition(".")[0] in places, f"{name} imports {imported}"


def test_importing_the_package_brings_no_extra() -> None:
    """`import asgi_guard` needs none of the extras, and does not load them."""
    code = "import sys, asgi_guard; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    extras = {
        *("aiohttp", "fastapi", "httpx", "httpx2", "memcachio", "pydantic", "redis"),
        *("sqlalchemy", "uvicorn"),
    }
    seldom = {"asgi_guard.rate_limit.stores.limits"}
    assert (extras | seldom).isdisjoint(loaded.stdout.split())


def test_files_stay_small() -> None:
    """Nothing over 300 lines, and half of them under 120."""
    lengths = sorted(len(file.read_text().splitlines()) for file in modules().values())
    assert lengths[-1] <= 300
    assert lengths[len(lengths) // 2] <= 120


@pytest.mark.parametrize(("name", "file"), modules().items(), ids=list(modules()))
def test_words(name: str, file: Path) -> None:
    """No Manager, Handler, Helper, Base or Util among the names."""
    names = re.findall(r"^\s*(?:class|(?:async )?def)\s+(\w+)", file.read_text(), re.MULTILINE)
    assert not [each for each in names if re.search(r"Manager|Handler|Helper|Base$|Util", each)]
