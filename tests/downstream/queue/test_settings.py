"""A wrong setting is named: the field, the value and the range."""

from typing import Any

import pytest

from asgi_guard import CircuitBreaker, ConfigurationError, Downstream, Guard, Priority


@pytest.mark.parametrize(
    ("setting", "value", "allowed"),
    [
        ("name", "", "printable ASCII"),
        ("name", "a\n", "printable ASCII"),
        ("breaker", "payments", "a CircuitBreaker, or None"),
        ("max_concurrent", 0, "from 1 up"),
        ("max_concurrent", True, "from 1 up"),
        ("max_concurrent", 2.5, "from 1 up"),
        ("min_interval", -0.1, "from 0 up"),
        ("min_interval", float("nan"), "from 0 up"),
        ("max_queue", -1, "from 0 up"),
        ("timeout", 0, "above 0"),
        ("timeout", "30", "above 0"),
        ("aging", 0, "above 0"),
        ("fallback_on", "error", "'rejected', 'failure'"),
        ("retries", -1, "from 0 up"),
        ("retry_budget", 0, "above 0"),
        ("retry_budget", 1.1, "up to 1"),
        ("back_off", 0, "above 0"),
        ("back_off_max", float("inf"), "above 0"),
        ("keep_last", -1, "from 0 up"),
        ("keep_for", 0, "above 0"),
        ("clock", 5, "returns seconds"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, value: Any, allowed: str) -> None:
    """When the object is made, not later."""
    settings: dict[str, Any] = {"name": "d", setting: value}
    with pytest.raises(ConfigurationError, match=allowed) as raised:
        Downstream(**settings)
    assert raised.value.field == f"Downstream.{setting}"
    assert repr(raised.value.value) == repr(value)


@pytest.mark.parametrize("priority", [True, 1.0, "high", None, 1001, -1001])
async def test_a_wrong_priority_is_named(priority: Any) -> None:
    """Wherever one is given, and nothing is taken."""
    downstream = Downstream("d")

    async def function() -> None: ...

    with pytest.raises(ConfigurationError, match=r"Downstream\.priority"):
        await downstream.call(function, priority=priority)
    with pytest.raises(ConfigurationError, match=r"Downstream\.priority"):
        downstream.slot(priority)
    with pytest.raises(ConfigurationError, match=r"Downstream\.priority"):
        downstream.at(priority)
    await downstream.call(function, priority=1000)
    assert downstream.snapshot().starts == 1


@pytest.mark.parametrize("function", [len, Priority, 5, lambda: None])
def test_only_async_functions_are_decorated(function: Any) -> None:
    """A plain one would hold up the loop."""
    with pytest.raises(ConfigurationError, match="an async function"):
        Downstream("d")(function)


def test_a_guard_wants_downstreams_with_names_of_their_own() -> None:
    """And breakers: one that several share is no clash."""
    breaker = CircuitBreaker("b")
    first, second = Downstream("first", breaker=breaker), Downstream("second", breaker=breaker)
    assert Guard(downstreams=[first, second], breakers=[breaker]).downstreams == (first, second)
    for wrong in ([first, Downstream("first")], [breaker], first, "d"):
        with pytest.raises(ConfigurationError, match="Downstream"):
            Guard(downstreams=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"CircuitBreaker\.name is 'b'"):
        Guard(downstreams=[first], breakers=[CircuitBreaker("b")])
