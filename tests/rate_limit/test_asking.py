"""Functions of the scope that a rule asks: keys and costs, plain and async."""

import asyncio
import gc
from typing import Any

import pytest

from asgi_guard import Quota, RateLimit, Rule, client_ip, combine, path, user
from asgi_guard.rate_limit.layer import RateLimitLayer
from tests.driver import connect, get
from tests.rate_limit.limiting import Limited, on_redis
from tests.stores.redis_server import RedisServer

ANN, BOB = ("192.0.2.1", 1), ("192.0.2.2", 1)


async def slow_ip(scope: Any) -> str:
    """Key by address, after the loop has gone round."""
    await asyncio.sleep(0)
    return client_ip(scope)


class SlowIp:
    """The same, as an object."""

    async def __call__(self, scope: Any) -> str:
        """Return the key."""
        return await slow_ip(scope)


@pytest.mark.parametrize("key", [slow_ip, SlowIp(), combine(slow_ip, path)])
async def test_an_async_key_charges_whom_it_returns(key: Any) -> None:
    """Two clients are independent, requests and handshakes alike."""
    limited = Limited(Rule("1/hour", key=key))
    assert await limited.statuses(get(client=ANN), get(client=ANN)) == [200, 429]
    assert await limited.statuses(get(client=BOB), connect(client=BOB)) == [200, 429]
    assert limited.counts() == [(2, 2, 0)]


async def test_an_async_key_of_none_exempts() -> None:
    """And is counted."""

    async def nobody(scope: Any) -> None:
        return None

    limited = Limited(Rule("1/hour", key=nobody))
    assert await limited.statuses(get(), get()) == [200, 200]
    assert limited.counts() == [(0, 0, 2)]


async def test_a_plain_key_of_none_is_counted_as_exempt() -> None:
    """Alone, beside others, and where an async one is asked."""
    rule = Rule("1/hour", name="none", key=lambda scope: None)
    for rules in ([rule], [rule, Rule("9/hour")], [rule, Rule("9/hour", key=slow_ip)]):
        limited = Limited(*rules)
        await limited.statuses(get(), connect())
        assert limited.counts()[0] == (0, 0, 2)
        assert limited.counts()[1:] == [(2, 0, 0)] * (len(rules) - 1)


async def test_rules_stay_all_or_nothing_where_one_waits() -> None:
    """Refused by the tight rule, a request takes nothing from the wide one."""
    limited = Limited(Rule("3/hour", key=slow_ip), Rule("1/hour", path="/login"))
    assert await limited.statuses(*(get("/login") for _ in range(4))) == [200, 429, 429, 429]
    assert await limited.statuses(get(), get(), get()) == [200, 200, 429]


async def test_what_waits_is_not_admitted_twice() -> None:
    """However many requests wait for their keys at once."""
    limited = Limited(Rule("5/hour", key=slow_ip))
    exchanges = await asyncio.gather(*(get().run(limited.app) for _ in range(50)))
    assert sorted(each.status for each in exchanges) == [200] * 5 + [429] * 45


async def test_a_plain_key_is_asked_at_once() -> None:
    """A decision in this process is a value, and nothing to wait for."""
    for rules in (["9/hour"], ["9/hour", "8/hour"], [Rule("9/hour", key=combine(user, path))]):
        layer = RateLimitLayer(RateLimit(*rules))
        exchange: Any = type("E", (), {"scope": get().scope, "fields": ()})()
        assert layer.admit(exchange) is None


async def bad_key(scope: Any) -> Any:
    """Return no key."""
    return 7


async def test_an_async_key_that_is_no_string_is_named() -> None:
    """A mistake in it does not look like ours."""
    limited = Limited(Rule("1/hour", key=bad_key))
    with pytest.raises(TypeError, match=r"key function tests\..*\.bad_key returned 7; allowed: a "):
        await get().run(limited.app)


async def test_a_key_function_that_hides_its_coroutine_is_named() -> None:
    """And leaves none behind that nobody has awaited."""
    limited = Limited(Rule("1/hour", key=lambda scope: slow_ip({**scope})))
    with pytest.raises(TypeError, match=r"<lambda> returned <coroutine .* must be an `async def`"):
        await get().run(limited.app)
    gc.collect()


async def test_an_async_key_holds_on_redis(redis_server: RedisServer) -> None:
    """Where every decision is awaited anyway."""
    limited = on_redis(Rule("1/hour", key=slow_ip), url=redis_server.url)
    assert await limited.statuses(get(client=ANN), get(client=ANN)) == [200, 429]
    assert await limited.statuses(get(client=BOB)) == [200]
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


def by_path(scope: Any) -> int:
    """Return the number that a path ends with."""
    return int(scope["path"].strip("/") or 0)


async def by_path_slowly(scope: Any) -> int:
    """Return the same, after the loop has gone round."""
    await asyncio.sleep(0)
    return by_path(scope)


@pytest.mark.parametrize("algorithm", ["sliding-window", "fixed-window", "token-bucket"])
@pytest.mark.parametrize("cost", [by_path, by_path_slowly])
async def test_a_request_costs_what_the_function_says(cost: Any, algorithm: Any) -> None:
    """What is left is told; 0 looks, and is admitted where nothing is left."""
    limited = Limited(Rule("10/hour", name="x", cost=cost, algorithm=algorithm))
    left = []
    for units in (3, 4, 0, 4, 3, 1, 0):
        exchange = await get(f"/{units}").run(limited.app)
        state = exchange.headers["ratelimit"].split(";")[1]
        left.append((exchange.status, int(state.removeprefix("r="))))
    assert left == [(200, 7), (200, 3), (200, 3), (429, 3), (200, 0), (429, 0), (200, 0)]
    assert limited.counts() == [(5, 2, 0)]


@pytest.mark.parametrize("rules", [[], ["100/hour"]])
async def test_a_fixed_cost_counts(rules: list[str]) -> None:
    """Alone and beside others, for requests and handshakes."""
    limited = Limited(Rule("10/hour", cost=4, name="dear"), *rules)
    assert await limited.statuses(get(), get(), get(), connect()) == [200, 200, 429, 429]
    free = Limited(Rule("1/hour", cost=0), *rules)
    assert await free.statuses(*(get() for _ in range(5))) == [200] * 5


@pytest.mark.parametrize("cost", [11, lambda scope: 11])
async def test_what_costs_more_than_there_ever_is_can_not_wait(cost: Any) -> None:
    """It is refused without a time to come back at, and takes nothing."""
    limited = Limited(Rule("10/hour", cost=cost), Rule("1/hour", name="other"))
    exchange = await get().run(limited.app)
    assert exchange.status == 429
    assert "retry-after" not in exchange.headers
    assert limited.counts() == [(0, 1, 0), (0, 0, 0)]


@pytest.mark.parametrize(
    ("answer", "error", "says"),
    [
        ("3", TypeError, "returned '3'; allowed: a whole number from 0"),
        (None, TypeError, "returned None"),
        (True, TypeError, "returned True"),
        (2.0, TypeError, "returned 2.0"),
        (-1, ValueError, "returned -1"),
        (10**15, ValueError, "returned 1000000000000000"),
        pytest.param(10**6000, ValueError, "returned a int that is not shown", id="long"),
    ],
)
async def test_a_wrong_cost_is_named_before_anything_is_charged(
    answer: Any, error: type[Exception], says: str
) -> None:
    """The function, what it returned, and what it may return."""

    def units(scope: Any) -> Any:
        return answer

    async def slow_units(scope: Any) -> Any:
        return answer

    for cost in (units, slow_units):
        limited = Limited("1/hour", Rule("9/hour", cost=cost, path="/dear"))
        with pytest.raises(error, match=rf"cost function tests\..*units {says}"):
            await get("/dear").run(limited.app)
        assert await limited.statuses(get(), get()) == [200, 429]


async def test_costs_hold_on_redis(redis_server: RedisServer) -> None:
    """In one step with rules of other costs."""
    rules = [Rule(Quota(10, 3600.0), name="dear", cost=by_path_slowly), Rule("2/hour", name="few")]
    limited = on_redis(*rules, url=redis_server.url)
    assert await limited.statuses(get("/6"), get("/6"), get("/4")) == [200, 429, 200]
    assert await limited.statuses(get("/0")) == [429]
    assert limited.counts() == [(2, 1, 0), (2, 1, 0)]
    await limited.layer._store.aclose()  # type: ignore[attr-defined]
