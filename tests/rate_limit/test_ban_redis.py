"""Bans on Redis: shared by all workers, in the same trip, and forgotten by the server itself."""

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_guard import Ban, Decision, Quota, Rule
from asgi_guard.rate_limit.decision import BanBegun
from asgi_guard.rate_limit.stores.redis import RedisStore
from tests.driver import get
from tests.rate_limit.limiting import on_redis
from tests.rate_limit.test_ban import TERMS, ban_from
from tests.rate_limit.test_redis import commands
from tests.stores.redis_server import RedisServer, RedisServers

if TYPE_CHECKING:
    from asgi_guard.rate_limit.ban import Record
    from asgi_guard.rate_limit.stores.store import Charge

LONG = Quota(2, 1e7)  # the windows of a server's clock should not end in a test


@pytest.fixture
def server(redis_servers: RedisServers) -> RedisServer:
    """Return one server, for what needs no other."""
    return redis_servers.get("redis-8")


def keys(server: RedisServer) -> dict[str, int]:
    """Return the keys there are, and the milliseconds for which each is kept."""
    with server.control() as control:
        names: Any = control.keys("*")
        kept: dict[str, Any] = {name: control.pttl(name) for name in names}
        return kept


async def test_a_ban_takes_no_trip_of_its_own(redis_server: RedisServer) -> None:
    """Neither before it nor when it begins nor while it lasts, beside any number of rules."""
    store = RedisStore(redis_server.url)
    banning = store.counter("banning", LONG, ban=Ban(2))
    other = store.counter("other", LONG, ban=Ban(9))
    plain = store.counter("plain", Quota(100, 1e7))
    charges: list[Charge] = [(banning, "ann", 1), (plain, "ann", 1), (other, "bob", 0)]
    await store.hit(charges)
    before = commands(redis_server)
    banned = [(await store.hit(charges))[0].banned for _ in range(5)]
    assert banned == [False, False, True, True, True]
    assert commands(redis_server) - before == 5
    await store.aclose()


async def test_workers_share_their_bans(redis_server: RedisServer) -> None:
    """Refusals of one are those of the other; one of them begins the ban."""
    stores = [RedisStore(redis_server.url) for _ in range(2)]
    decisions: list[Decision] = []
    for turn in range(8):
        store = stores[turn % 2]
        counter = store.counter("r", LONG, ban=Ban(4, lasts=500.0))
        decisions += await store.hit([(counter, "ann", 1)])
    assert [each.banned for each in decisions] == [False] * 5 + [True] * 3
    assert [isinstance(each, BanBegun) for each in decisions].count(True) == 1
    for store in stores:
        await store.aclose()


async def test_a_crowd_begins_one_ban(redis_server: RedisServer) -> None:
    """Requests that travel together are decided one after the other."""
    store = RedisStore(redis_server.url)
    counter = store.counter("r", LONG, ban=Ban(5))
    answers = await asyncio.gather(*(store.hit([(counter, "ann", 1)]) for _ in range(200)))
    decisions = [decision for (decision,) in answers]
    assert sum(each.admitted for each in decisions) == 2
    assert sum(isinstance(each, BanBegun) for each in decisions) == 1
    assert sum(each.banned for each in decisions) == 194
    await store.aclose()


async def test_the_server_forgets_what_matters_no_more(server: RedisServer) -> None:
    """A record is kept as long as its refusals count, or as its ban lasts and as long again."""
    store = RedisStore(server.url, prefix="forgets")
    counter = store.counter("a:b", LONG, ban=Ban(2, within=30.0, lasts=50.0))
    seen = []
    for _ in range(5):
        await store.hit([(counter, "ann", 1)])
        seen.append(keys(server).get("{forgets}:a%3Ab:ban:ann"))
    assert seen[:2] == [None, None]
    assert all(each is not None for each in seen[2:])
    once, begun, later = (each or 0 for each in seen[2:])
    assert 29_000 < once <= 30_002
    assert 99_000 < begun <= 100_002
    assert later <= begun
    await store.aclose()


async def test_a_refusal_after_a_ban_keeps_its_memory(server: RedisServer) -> None:
    """For as long as it lasted, from that refusal on."""
    store = RedisStore(server.url, prefix="keeps")
    counter = store.counter("r", LONG, ban=Ban(2, within=10.0, lasts=50.0))
    for _ in range(4):
        await store.hit([(counter, "ann", 1)])
    name = "{keeps}:r:ban:ann"
    began, refusals, until, lasts, _ = server.numbers(name)
    server.put_numbers(name, began, refusals, until - 60e6, lasts, until - 60e6 + lasts)
    await store.hit([(counter, "ann", 1)])
    began, refusals, _, lasts, forgiven_at = server.numbers(name)
    assert (refusals, lasts, forgiven_at - began) == (1.0, 50e6, 50e6)
    assert 49_000 < keys(server)[name] <= 50_002
    await store.aclose()


async def test_rules_without_a_ban_send_no_more(server: RedisServer) -> None:
    """The same numbers as ever, and a key each."""
    store = RedisStore(server.url, prefix="plain")
    plain, banning = store.counter("p", LONG), store.counter("b", LONG, ban=Ban(2))
    assert len(plain.numbers.split()) == 5
    assert len(banning.numbers.split()) == 10
    for _ in range(4):
        await store.hit([(plain, "ann", 1)])
    assert [name for name in keys(server) if name.startswith("{plain}")] == [
        f"{{plain}}:p:1:{LONG.period!r}:ann"
    ]
    await store.aclose()


async def test_what_is_given_back_is_while_a_key_is_banned(redis_server: RedisServer) -> None:
    """The charge, not the ban."""
    store = RedisStore(redis_server.url)
    quota = Quota(3, 1e7)
    counter = store.counter("r", quota, ban=Ban(1, lasts=500.0))
    await store.hit([(counter, "ann", 2)])
    (begun,) = await store.hit([(counter, "ann", 2)])
    assert begun.banned
    await store.give_back([(counter, "ann", 2)], age=0.0)
    assert (await store.hit([(counter, "ann", 1)]))[0].banned
    plain = store.counter("r", quota)
    assert (await store.hit([(plain, "ann", 0)]))[0].remaining == 3
    await store.aclose()


async def test_a_guard_over_redis_bans(redis_server: RedisServer) -> None:
    """With the same answer, and the same counts; a shadow beside it bans nobody."""
    rules = (
        Rule("2/year", name="login", ban=Ban(2, lasts=1e8, longest=1e9)),
        Rule("1/year", name="s", shadow=True, ban=Ban(3)),
    )
    limited = on_redis(*rules, url=redis_server.url)
    before = commands(redis_server)
    answers = [await get().run(limited.app) for _ in range(6)]
    assert commands(redis_server) - before <= 7  # one more where the script is new
    assert [each.status for each in answers] == [200] * 2 + [429] * 4
    assert answers[-1].body.count(b"Banned") == 1
    assert 99_999_000 < int(answers[-1].headers["retry-after"]) <= 100_000_000
    assert answers[3].headers["retry-after"] == "100000000"
    await asyncio.sleep(0.05)
    assert [each.bans for each in limited.layer.snapshot()] == [1, 1]
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(ban=TERMS, times=st.integers(1, 6))
def test_the_script_counts_as_the_process_does(
    redis_servers: RedisServers, ban: Ban, times: int
) -> None:
    """Ban after ban; the server's record is put back as if the ban were over."""
    server = redis_servers.get("redis-8")

    async def run() -> None:
        store = RedisStore(server.url, prefix=f"same {time.monotonic_ns()}")
        counter = store.counter("r", Quota(1, 0.001), ban=ban)
        record: Record | None = None
        now = 0.0
        for _ in range(times):
            decisions = [(await store.hit([(counter, "a", 2)]))[0] for _ in range(ban.after)]
            assert [isinstance(each, BanBegun) for each in decisions].index(True) == ban.after - 1
            record, lasts = ban_from(ban, now, record)
            now += lasts
            # A cost that never fits has no wait: what is said of the ban is its reset.
            assert decisions[-1].reset == pytest.approx(lasts, rel=1e-6, abs=1e-5)
            name = (counter.bans + b"a").decode()
            began, refusals, until, known, forgiven = server.numbers(name)
            assert refusals == 0
            assert forgiven - until == pytest.approx(known)
            assert known == pytest.approx(lasts * 1e6, rel=1e-6, abs=10)
            server.put_numbers(name, began, 0, until - known - 1, known, forgiven)
        await store.aclose()

    asyncio.run(run())
