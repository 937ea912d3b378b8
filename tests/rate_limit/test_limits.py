"""Stores in storages of `limits`: what they promise, and what they do where they promise less."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import limits.aio.storage
import limits.storage
import pytest
from asgi_lifespan import LifespanManager
from starlette.applications import Starlette
from starlette.routing import Mount

from asgi_guard import (
    ConfigurationError,
    Decision,
    Quota,
    RateLimit,
    RateLimiter,
    Rule,
    StoreUnavailable,
)
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.stores import limits_storages
from asgi_guard.rate_limit.stores.limits import LimitsStore
from asgi_guard.rate_limit.stores.opening import open_store
from tests.driver import get, hello
from tests.stores.memcached_server import MemcachedServer
from tests.stores.redis_server import KINDS, RedisServers

HOUR = Quota(100, 3600.0)
DAY = 86400.0
ALGORITHMS: dict[str, list[Algorithm]] = {
    "memory": ["sliding-window", "fixed-window", "moving-window"],
    "memcached": ["sliding-window", "fixed-window"],
    "redis": ["sliding-window", "fixed-window", "moving-window"],
}
CASES = [(server, algorithm) for server, able in ALGORITHMS.items() for algorithm in able]


class OnlyFixed(limits.aio.storage.Storage):
    """A storage of somebody's own, that can do the least, and answers when it is told to."""

    STORAGE_SCHEME = None
    base_exceptions = ValueError

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.answers = asyncio.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.cancelled = 0

    async def get(self, key: str) -> int:
        """Return a count."""
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return self.counts.get(key, 0)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count, that never expires."""
        self.counts[key] = self.counts.get(key, 0) + amount
        return self.counts[key]

    async def get_expiry(self, key: str) -> float:
        """Return a time."""
        return time.time() + 10

    async def check(self) -> bool:
        """Return whether it is well."""
        return True

    async def reset(self) -> None:
        """Forget everything."""

    async def clear(self, key: str) -> None:
        """Forget a key."""


@pytest.fixture
def urls(memcached_server: MemcachedServer, redis_servers: RedisServers) -> dict[str, str]:
    """Return where storages are, by a name."""
    return {
        "memory": "async+memory://",
        "memcached": f"async+{memcached_server.url}",
        "redis": f"async+{redis_servers.get(KINDS[0]).url}",
    }


async def ask(store: LimitsStore, rule: str = "rule", key: str = "ann", cost: int = 1) -> Decision:
    """Charge a rule by fixed windows."""
    counter = store.counter(rule, HOUR, "fixed-window")
    (decision,) = await store.hit([(counter, key, cost)])
    return decision


@pytest.mark.parametrize(("server", "algorithm"), CASES)
async def test_who_waits_as_long_as_told_is_admitted(
    server: str, algorithm: Algorithm, urls: dict[str, str]
) -> None:
    """In whole seconds, asked at whatever time of a window, and for several units."""
    store = LimitsStore(urls[server])

    async def waits(eighths: int, cost: int) -> bool:
        counter = store.counter(f"{eighths} {cost}", Quota(4, 1.0), algorithm)
        for pause in (eighths / 8, 0.0):
            (half,) = await store.hit([(counter, "ann", 2)])
            assert half.admitted
            assert 0 < half.reset <= 2.01
            await asyncio.sleep(pause)
        (refused,) = await store.hit([(counter, "ann", cost)])
        if refused.admitted:  # where a window has ended meanwhile
            return False
        assert refused.retry_after is not None
        assert 0 < refused.reset <= refused.retry_after <= 2.51
        await asyncio.sleep(refused.retry_after)
        (again,) = await store.hit([(counter, "ann", cost)])
        assert again.admitted, refused
        return True

    asked = [waits(eighths, cost) for eighths in range(8) for cost in (1, 3)]
    assert any(await asyncio.gather(*asked))
    await store.aclose()


@pytest.mark.parametrize(("server", "algorithm"), CASES)
async def test_what_a_hit_says_is_in_its_range(
    server: str, algorithm: Algorithm, urls: dict[str, str]
) -> None:
    """For the largest quotas and the longest periods that a storage takes."""
    store = LimitsStore(urls[server])
    longest = {"sliding-window": 15 * DAY, "fixed-window": 30 * DAY}
    period = longest[algorithm] if server == "memcached" else 36500 * DAY
    most = 1000 if algorithm == "moving-window" else 10**15 - 1
    counter = store.counter("large", Quota(most, period), algorithm)
    for used in (1, 2, 3):
        (decision,) = await store.hit([(counter, "ann", 1)])
        assert decision.admitted
        assert decision.remaining == most - used
        assert 0 < decision.reset <= period + 1.01
    (all_of_it,) = await store.hit([(counter, "ann", most)])
    assert not all_of_it.admitted
    assert all_of_it.retry_after is not None
    assert 0 < all_of_it.reset <= all_of_it.retry_after
    await store.aclose()


@pytest.mark.parametrize(("server", "algorithm"), CASES)
async def test_what_was_charged_in_vain_is_given_back(
    server: str, algorithm: Algorithm, urls: dict[str, str]
) -> None:
    """Where several saw room for one; a moving window cannot give back, and is charged last."""
    store = LimitsStore(urls[server])
    wide = store.counter("wide", Quota(50, 60.0), algorithm)
    tight = store.counter("tight", Quota(1, 3600.0), "fixed-window")
    both = [(wide, "ann", 2), (tight, "ann", 1)]
    decisions = await asyncio.gather(*(store.hit(both) for _ in range(5)))
    assert sum(all(each.admitted for each in pair) for pair in decisions) == 1
    assert all(pair[0].admitted for pair in decisions)
    (left,) = await store.hit([(wide, "ann", 0)])
    assert left.remaining == 48
    (used,) = await store.hit([(tight, "ann", 0)])
    assert used.remaining == 0
    await store.aclose()


@pytest.mark.parametrize(("server", "algorithm"), CASES)
async def test_a_crowd_is_never_admitted_beyond_the_count(
    server: str, algorithm: Algorithm, urls: dict[str, str]
) -> None:
    """All of the count where a key is decided in one step; memcached may admit fewer."""
    store = LimitsStore(urls[server])
    counter = store.counter("rule", Quota(30, 3600.0), algorithm)
    crowd = await asyncio.gather(*(store.hit([(counter, "ann", 1)]) for _ in range(80)))
    admitted = sum(each.admitted for (each,) in crowd)
    assert 0 < admitted <= 30
    if server != "memcached":
        assert admitted == 30
    await store.aclose()


async def test_what_a_moving_window_has_charged_is_lost(urls: dict[str, str]) -> None:
    """Where another one refuses at the last moment; the documentation says so."""
    store = LimitsStore(urls["memory"])
    first = store.counter("first", Quota(50, 60.0), "moving-window")
    second = store.counter("second", Quota(1, 3600.0), "moving-window")
    await asyncio.gather(*(store.hit([(first, "ann", 1), (second, "ann", 1)]) for _ in range(2)))
    (left,) = await store.hit([(first, "ann", 0)])
    assert left.remaining == 48
    await store.aclose()


async def test_no_number_goes_below_zero() -> None:
    """A window that has ended before its units are given back owes nobody anything."""
    storage = OnlyFixed()
    counter = LimitsStore(storage).counter("rule", HOUR, "fixed-window")
    key = counter.key("ann")
    await counter.take_back(storage, key, 3, 0.0)
    assert storage.counts[key] == 0


@pytest.mark.parametrize("server", ["memory", "memcached", "redis"])
async def test_no_sliding_window_goes_below_zero(server: str, urls: dict[str, str]) -> None:
    """Neither."""
    store, storage = LimitsStore(urls[server]), limits_storages.storage_opener(urls[server])()
    counter = store.counter("rule", HOUR, "sliding-window")
    key = counter.key("ann")
    await counter.take_back(storage, key, 3, time.time())
    for remaining in (99, 98, 97):
        assert await counter.charge(storage, key, 1, await counter.look(storage, key))
        assert (await counter.look(storage, key)).decide(0)[1] == remaining
    await limits_storages.close_storage(storage)


@pytest.mark.parametrize(("server", "algorithm"), CASES)
async def test_who_comes_too_late_is_not_charged(
    server: str, algorithm: Algorithm, urls: dict[str, str]
) -> None:
    """Of several who ask at once, and have all seen room."""
    store = LimitsStore(urls[server])
    counter = store.counter("rule", Quota(5, 3600.0), algorithm)
    crowd = await asyncio.gather(*(store.hit([(counter, "ann", 3)]) for _ in range(5)))
    admitted = sum(each.admitted for (each,) in crowd)
    assert admitted == 1 or (admitted == 0 and server == "memcached")
    await asyncio.sleep(0.05)  # memcached is told, not asked
    (left,) = await store.hit([(counter, "ann", 5 - 3 * admitted)])
    assert left.admitted
    assert left.remaining == 0
    await store.aclose()


async def test_a_refusal_is_not_charged(urls: dict[str, str]) -> None:
    """As it is by the fixed windows of `limits` itself."""
    store = LimitsStore(urls["memcached"])
    assert (await ask(store, cost=98)).remaining == 2
    assert not (await ask(store, cost=50)).admitted
    assert (await ask(store, cost=2)).admitted
    await store.aclose()


async def test_what_never_fits_is_refused_for_good() -> None:
    """Without a charge."""
    storage = OnlyFixed()
    decision = await ask(LimitsStore(storage), cost=101)
    assert decision == Decision(False, 100, 0.0, None)
    assert storage.counts == {}


async def test_keys_are_legal_everywhere() -> None:
    """Short printable ASCII, also of what is long, or is no text at all."""
    storage = OnlyFixed()
    store = LimitsStore(storage, prefix="p")
    for rule, key in [("a b", "é\n/:%"), ("a", "x" * 500), ("a", "x" * 501), ("r" * 100, "\ud800")]:
        await ask(store, rule, key)
    first, *rest = storage.counts
    assert first == "p:a%20b:f:3600:%C3%A9%0A%2F%3A%25"
    assert len(rest) == 3
    assert all(len(each) < 200 and each.isascii() and each.isprintable() for each in rest)
    assert not any(" " in each for each in storage.counts)


async def test_a_count_that_changes_is_no_new_counter() -> None:
    """Nor is a name that is spelled alike."""
    storage = OnlyFixed()
    store = LimitsStore(storage)
    for count in (5, 9):
        await store.hit([(store.counter("rule", Quota(count, 60.0), "fixed-window"), "ann", 1)])
    assert list(storage.counts.values()) == [2]


async def test_no_answer_in_time() -> None:
    """Who asks is told; the client goes on undisturbed, and so does who asks next."""
    storage = OnlyFixed()
    store = LimitsStore(storage)
    counter = store.counter("rule", HOUR, "fixed-window")
    storage.answers.clear()
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.02 s"):
        await store.hit([(counter, "ann", 1)], within=0.02)
    leaving = asyncio.ensure_future(store.hit([(counter, "ann", 1)]))
    await asyncio.sleep(0.01)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert storage.cancelled == 0
    storage.answers.set()
    assert (await ask(store)).admitted
    storage.answers.clear()
    waiting = asyncio.ensure_future(store.hit([(counter, "ann", 1)]))
    await asyncio.sleep(0.01)
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="closed"):
        await waiting
    assert storage.cancelled == 1


@pytest.mark.parametrize(
    "error",
    [
        limits.errors.StorageError(ValueError("?")),
        OSError("?"),
        RuntimeError("?"),
        TimeoutError("?"),
        asyncio.QueueEmpty("?"),
    ],
    ids=repr,
)
async def test_every_error_means_no_answer(error: Exception) -> None:
    """With the error as its cause."""
    storage = OnlyFixed()
    storage.error = error
    with pytest.raises(StoreUnavailable) as caught:
        await ask(LimitsStore(storage))
    assert caught.value.__cause__ is error


async def test_a_server_that_hangs_or_dies_comes_back(memcached_server: MemcachedServer) -> None:
    """Without a new store."""
    store = LimitsStore(f"async+{memcached_server.url}")
    counter = store.counter("rule", HOUR, "sliding-window")

    async def crowd() -> list[Any]:
        asked = (store.hit([(counter, str(each), 1)], within=0.2) for each in range(50))
        return await asyncio.gather(*asked, return_exceptions=True)

    async def settled() -> bool:
        for _ in range(50):
            if not any(isinstance(each, Exception) for each in await crowd()):
                return True
            await asyncio.sleep(0.1)
        return False

    assert await settled()
    with memcached_server.frozen():
        assert {type(each) for each in await crowd()} == {StoreUnavailable}
        assert {type(each) for each in await crowd()} == {StoreUnavailable}
    assert await settled()
    memcached_server.kill()
    assert {type(each) for each in await crowd()} == {StoreUnavailable}
    memcached_server.restart()
    assert await settled()
    await store.aclose()


def test_it_works_in_one_loop_after_another(
    urls: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Each has a storage of its own, that leaves nothing open; what to expect is said once."""
    store = LimitsStore(urls["memcached"])

    async def once() -> int:
        left = (await ask(store)).remaining
        await store.aclose()
        return left

    assert [asyncio.run(once()) for _ in range(3)] == [99, 98, 97]
    assert sum(each.name == "asgi_guard" for each in caplog.records) == 1


async def test_a_storage_of_the_users_own_stays_open(memcached_server: MemcachedServer) -> None:
    """It is used, and closed by nobody else; one of a URL is closed."""
    storage = limits.aio.storage.MemcachedStorage(f"async+{memcached_server.url}")
    theirs, ours = LimitsStore(storage), LimitsStore(f"async+{memcached_server.url}")
    assert [(await ask(store)).remaining for store in (theirs, ours)] == [99, 98]
    assert memcached_server.connections() == 2
    await theirs.aclose()
    await ours.aclose()
    assert await settles(lambda: memcached_server.connections() == 1)
    assert (await ask(theirs)).remaining == 97
    await theirs.aclose()
    await limits_storages.close_storage(storage)
    assert await settles(lambda: memcached_server.connections() == 0)


async def settles(is_so: Callable[[], bool]) -> bool:
    """Return whether it becomes so within a second: a server takes note of goodbyes later."""
    for _ in range(100):
        if is_so():
            return True
        await asyncio.sleep(0.01)
    return False


async def test_a_rate_limit_counts_there(
    urls: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """By its URL; two apps are two workers, and each says once what to expect."""
    settings = RateLimit("3/hour", Rule("2/hour", path="/login"), store=urls["memcached"])
    workers = [settings(Starlette(routes=[Mount("/", hello)])) for _ in range(2)]
    async with LifespanManager(workers[0]), LifespanManager(workers[1]):
        statuses = [(await get("/login").run(workers[turn % 2])).status for turn in range(4)]
        assert statuses == [200, 200, 429, 429]
        answer = await get().run(workers[0])
        assert answer.headers["ratelimit"].startswith('"3/hour";r=0;t=')
    told = [each for each in caplog.records if each.name == "asgi_guard"]
    assert [each.levelno for each in told] == [logging.WARNING] * 2
    assert "MemcachedStorage decides each rule by itself" in told[0].getMessage()
    assert "docs/reference/rate-limit.md#other-stores" in told[0].getMessage()


async def test_an_outage_ends_where_only_fixed_windows_are() -> None:
    """The probe asks for nothing that the storage does not have."""
    storage = OnlyFixed()
    rules = Rule("1/hour", algorithm="fixed-window")
    app = RateLimit(rules, store=LimitsStore(storage), on_store_failure="admit")(hello)
    storage.error = OSError("?")
    assert [(await get().run(app)).status for _ in range(2)] == [200, 200]
    storage.error = None
    await asyncio.sleep(0.3)
    assert [(await get().run(app)).status for _ in range(2)] == [200, 429]


async def test_a_limiter_counts_there(urls: dict[str, str]) -> None:
    """Without HTTP; it closes what it has opened."""
    limiter = RateLimiter("2/hour", store=urls["memcached"])
    assert [(await limiter.hit("ann")).admitted for _ in range(3)] == [True, True, False]
    await limiter.aclose()


@pytest.mark.parametrize(
    ("algorithm", "quota", "message"),
    [
        ("token-bucket", HOUR, r"'token-bucket'; allowed: one of sliding-window, fixed-window in"),
        ("moving-window", HOUR, r"'moving-window'; allowed: one of sliding-window, fixed-window"),
        ("fixed-window", Quota(1, 0.5), r"Quota\.period is 0\.5; allowed: whole seconds"),
        ("fixed-window", Quota(1, 31 * DAY), r"allowed: at most 2592000 seconds for a fixed"),
        ("sliding-window", Quota(1, 16 * DAY), r"allowed: at most 1296000 seconds for a sliding"),
    ],
)
def test_what_memcached_cannot_count_is_refused(
    algorithm: Algorithm, quota: Quota, message: str
) -> None:
    """When the rule is made."""
    store = LimitsStore("async+memcached://localhost:11211")
    with pytest.raises(ConfigurationError, match=message):
        store.counter("rule", quota, algorithm)


def test_a_long_log_is_refused() -> None:
    """Also where no rule has done so."""
    store = LimitsStore("async+memory://")
    assert store.counter("rule", Quota(1000, 1.0), "moving-window")
    with pytest.raises(ConfigurationError, match=r"Quota\.count is 1001; allowed: at most 1000"):
        store.counter("rule", Quota(1001, 1.0), "moving-window")


@pytest.mark.parametrize(
    ("target", "prefix", "field"),
    [
        ("localhost", "p", "target"),
        ("async+http://localhost", "p", "target"),
        ("async+memcached://localhost:x", "p", "target"),
        ("memcached://localhost:11211", "p", "target"),
        (5, "p", "target"),
        (None, "p", "target"),
        (limits.aio.storage.MemoryStorage, "p", "target"),
        ("async+memory://", "", "prefix"),
        ("async+memory://", "a b", "prefix"),
        ("async+memory://", "x" * 51, "prefix"),
        ("async+memory://", 5, "prefix"),
    ],
)
def test_a_wrong_setting_is_named(target: Any, prefix: Any, field: str) -> None:
    """When the store is made."""
    with pytest.raises(ConfigurationError, match=rf"LimitsStore\.{field} is .*; allowed: "):
        LimitsStore(target, prefix=prefix)


def test_a_url_is_never_shown() -> None:
    """It may hold a password."""
    with pytest.raises(ConfigurationError) as caught:
        LimitsStore("async+memcached://ann:secret@localhost:x")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_what_blocks_is_refused() -> None:
    """With what to write in its place."""
    sync: Any = limits.storage.MemoryStorage()
    with pytest.raises(ConfigurationError, match=r"'async\+memory://', which does not block"):
        LimitsStore(sync)
    with pytest.raises(ConfigurationError, match=r"allowed: 'async\+memcached://\.\.\.', which"):
        RateLimit("5/hour", store="memcached://ann:secret@localhost:11211")
    with pytest.raises(ConfigurationError, match=r"allowed: 'async\+mongodb\+srv://\.\.\.'"):
        RateLimit("5/hour", store="mongodb+srv://localhost")


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("async+memcached://localhost:11211", r"asgi-guard\[memcached\]"),
        ("async+mongodb+srv://localhost", r"'limits\[async-mongodb\]'"),
        ("async+rediss://localhost", r"asgi-guard\[redis\]"),
        ("async+valkey+cluster://localhost:1", r"'limits\[async-valkey\]'"),
    ],
)
def test_a_missing_client_is_named(url: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what brings it."""
    monkeypatch.setattr(limits_storages, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=rf"this, after `pip install {remedy}`"):
        open_store("RateLimit.store", url)
