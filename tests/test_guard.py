"""The one configuration object: what it takes, in which order it stacks, and what it refuses."""

import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine

from asgi_guard import (
    CircuitBreaker,
    CircuitOpen,
    ConcurrencyLimit,
    ConfigurationError,
    Guard,
    Health,
    Metrics,
    RateLimit,
)
from tests.driver import get, hello


def test_its_fields_are_the_stack() -> None:
    """In the order of the design; `downstreams` and `pools` are no layers."""
    names = [field.name for field in fields(Guard)]
    layers = ["proxies", "health", "metrics", "rate_limit", "concurrency", "breakers"]
    assert names == [*layers, "downstreams", "pools"]


async def test_without_guards_it_is_a_guard_all_the_same() -> None:
    """A configuration that switches everything off still starts, and serves."""
    assert (await get().run(Guard()(hello))).body == b"hello"


async def test_refusals_are_measured_and_hold_no_permit() -> None:
    """Each guard sees what those outside of it have let in."""
    inside: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        inside.append(1)
        raise CircuitOpen("no", 1.0, "payments")

    guarded = Guard(
        health=Health(),
        metrics=Metrics(registry=CollectorRegistry()),
        rate_limit=RateLimit("2/hour"),
        concurrency=[ConcurrencyLimit(1, name="outer"), ConcurrencyLimit(1, name="inner")],
        breakers=[CircuitBreaker("payments")],
    )(app)
    statuses = [(await get().run(guarded)).status for _ in range(4)]
    assert statuses == [503, 503, 429, 429]
    assert len(inside) == 2
    text = (await get("/metrics").run(guarded)).body.decode()
    for line in (
        'http_response_status_code="503",http_route="__unmatched__"} 2.0',
        'http_response_status_code="429",http_route="__unmatched__"} 2.0',
        'asgi_guard_rate_limit_decisions_total{decision="denied",rule="2/hour"} 2.0',
        'asgi_guard_concurrency_in_flight{limiter="outer"} 0.0',
        'asgi_guard_concurrency_limit{limiter="inner"} 1.0',
        'asgi_guard_circuit_state{breaker="payments",state="closed"} 1.0',
    ):
        assert line in text


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"proxies": "10.0.0.0/8"}, "Guard.proxies"),
        ({"health": True}, "Guard.health"),
        ({"metrics": "/metrics"}, "Guard.metrics"),
        ({"rate_limit": "300/minute"}, "Guard.rate_limit"),
        ({"concurrency": 64}, "Guard.concurrency"),
        ({"concurrency": ""}, "Guard.concurrency"),
        ({"pools": {"main": {"password": "hunter2"}}}, "Guard.pools['main']"),
        ({"concurrency": [ConcurrencyLimit(1), 64]}, "Guard.concurrency"),
        ({"concurrency": [ConcurrencyLimit(1), ConcurrencyLimit(2)]}, "ConcurrencyLimit.name"),
        ({"breakers": "payments"}, "Breakers.breakers"),
        ({"breakers": [CircuitBreaker("a"), CircuitBreaker("a")]}, "CircuitBreaker.name"),
        ({"pools": [1]}, "Guard.pools"),
        ({"pools": {"main": "postgresql://user:hunter2@db/prod"}}, "Guard.pools['main']"),
        ({"pools": {"main": None}}, "Guard.pools['main']"),
        ({"pools": {"": create_engine("sqlite://")}}, "Guard.pools"),
    ],
)
def test_a_wrong_field_is_named(settings: Any, field: str) -> None:
    """The field, the value and what is allowed, when the guard is made."""
    with pytest.raises(ConfigurationError) as raised:
        Guard(**settings)
    assert raised.value.field == field
    assert "; allowed: " in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_two_guards_on_one_path_are_refused() -> None:
    """The inner of them could never answer."""
    with pytest.raises(ConfigurationError, match=r"Metrics\.path is '/health'"):
        Guard(health=Health(), metrics=Metrics("/health"))


def test_without_sqlalchemy_pools_name_the_extra() -> None:
    """A remedy, and not a traceback of imports."""
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "import asgi_guard\n"
        "asgi_guard.Guard(health=asgi_guard.Health(checks={'a': print}))\n"
        "asgi_guard.Guard(pools={'main': object()})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert "ConfigurationError: Guard.pools" in run.stderr
    assert "pip install asgi-guard[sqlalchemy]" in run.stderr


def test_sync_engines_need_no_greenlet() -> None:
    """The async part of SQLAlchemy does, and is not asked for."""
    code = (
        "import sys; sys.modules['greenlet'] = None\n"
        "import asgi_guard, sqlalchemy\n"
        "engine = sqlalchemy.create_engine('sqlite://')\n"
        "health = asgi_guard.Health(checks={'database': engine})\n"
        "asgi_guard.Guard(health=health, pools={'main': engine})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


async def test_one_engine_may_have_two_names() -> None:
    """Each of them is shown."""
    engine = create_engine("sqlite://")
    guard = Guard(
        metrics=Metrics(registry=CollectorRegistry()), pools={"read": engine, "write": engine}
    )
    text = (await get("/metrics").run(guard(hello))).body.decode()
    for name in ("read", "write"):
        assert f'asgi_guard_db_pool_waiters{{pool="{name}"}} 0.0' in text
    engine.dispose()


@pytest.mark.parametrize("app", [5, None, "app:app"])
def test_an_app_can_be_called(app: Any) -> None:
    """What cannot is named when it is wrapped."""
    with pytest.raises(ConfigurationError, match=r"Guard\(app\)"):
        Guard()(app)


@pytest.mark.parametrize(
    "secret",
    [
        "redis://user:pa/ss@host",
        "redis://user:p@ss@host",
        "redis://:p'ss@host",
        "postgresql://host/db?password=pass",
        ["amqp://user:pass@host"],
    ],
)
def test_no_error_shows_more_of_a_url_than_its_scheme(secret: Any) -> None:
    """Passwords may hold anything."""
    error = ConfigurationError("RateLimit.store", secret, "something else")
    assert "ss" not in str(error).removesuffix("something else")
    assert "://***" in str(error)


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    """Python refuses to print numbers of thousands of digits."""
    with pytest.raises(ConfigurationError, match="a int that is not shown"):
        ConcurrencyLimit(-(10**5000))
