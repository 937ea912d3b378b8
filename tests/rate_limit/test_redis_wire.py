"""The connection that is taken over: whatever it was made for, and whatever comes back by it."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from asgi_guard import Decision, Quota, Rule, StoreUnavailable, client_ip
from asgi_guard.rate_limit.stores import redis_question
from asgi_guard.rate_limit.stores.redis import RedisStore
from asgi_guard.rate_limit.stores.redis_wire import Wire, end_of_value
from tests.driver import get
from tests.processes import HOST, Children, free_port, unavailable
from tests.rate_limit.limiting import Limited, on_redis
from tests.rate_limit.test_redis import LONG, ask
from tests.stores.redis_server import RedisServer

ANSWER = b"$7\r\n9 150 0\r\n"
PUSH = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Transports are others on other loops."""
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


def carrier(store: RedisStore) -> Any:
    """Return what carries questions in this loop."""
    return store.line(asyncio.get_running_loop())._talk._carrier


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine, and its key."""
    openssl = shutil.which("openssl") or unavailable("openssl (apt install openssl)")
    key, made = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", made),
        ],
        check=True,
        capture_output=True,
    )
    return made, key


@pytest.fixture(scope="module")
def secured(children: Children, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Start a server with TLS and a password; return its URL."""
    made, key = certificate(tmp_path_factory.mktemp("tls"))
    port = free_port()
    options = ("--tls-port", port, "--tls-cert-file", made, "--tls-key-file", key)
    RedisServer(children, "redis-tls", *options, "--tls-auth-clients", "no", kind="redis-7")
    return f"rediss://{HOST}:{port}/3?ssl_cert_reqs=none&ssl_check_hostname=false"


async def test_tls_is_taken_over(secured: str) -> None:
    """With whatever lies between the transport and the socket; it closes at once."""
    store = RedisStore(secured, prefix=f"p{id(asyncio.get_running_loop())}")
    assert [await ask(store, 2) for _ in range(3)] == [[99] * 2, [98] * 2, [97] * 2]
    assert isinstance(carrier(store), Wire)
    async with asyncio.timeout(1):
        await store.aclose()


@pytest.mark.parametrize("query", ["", "?protocol=2", "?protocol=3&client_name=ann"])
async def test_what_was_set_up_stays(redis_server: RedisServer, query: str) -> None:
    """The database, the protocol and the user; at the end nothing is open."""
    with redis_server.control() as control:
        said: Any = control
        said.acl_setuser("bob", enabled=True, passwords=["+secret"], categories=["+@all"])
        said.execute_command("ACL", "SETUSER", "bob", "~*")
    others = redis_server.connections()
    store = RedisStore(f"redis://bob:secret@{HOST}:{redis_server.port}/5{query}")
    assert [await ask(store) for _ in range(2)] == [[99], [98]]
    assert isinstance(carrier(store), Wire)
    with redis_server.control() as control:
        clients: Any = control.client_list()
        assert [(each["user"], each["db"]) for each in clients if each["user"] == "bob"] == [
            ("bob", "5")
        ]
    await store.aclose()
    assert redis_server.connections() == others


async def test_a_server_that_takes_no_writes_is_left(redis_server: RedisServer) -> None:
    """As one is that was the master: the next question looks for it again."""
    store = RedisStore(redis_server.url)
    assert await ask(store) == [99]
    before = carrier(store)
    with redis_server.control() as control:
        said: Any = control
        said.execute_command("REPLICAOF", HOST, free_port())
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await ask(store)
        said.execute_command("REPLICAOF", "NO", "ONE")
    assert await ask(store) == [98]
    assert carrier(store) is not before
    await store.aclose()


async def test_a_client_of_another_kind_is_called(redis_server: RedisServer) -> None:
    """Where there is no connection to take over, as before a cluster."""

    class Other:
        def __init__(self, client: Any) -> None:
            self.evalsha, self.eval, self.aclose = client.evalsha, client.eval, client.aclose

    async with Redis.from_url(redis_server.url) as client:
        store = RedisStore(Other(client))
        assert [await ask(store, 2) for _ in range(2)] == [[99] * 2, [98] * 2]
        assert not isinstance(carrier(store), Wire)
        with redis_server.control() as control:
            control.script_flush()
        together = await asyncio.gather(*(ask(store, key=f"client-{n}") for n in range(50)))
        assert together == [[99]] * 50
        with redis_server.frozen():
            with pytest.raises(StoreUnavailable, match="in time"):
                await store.hit([(store.counter("rule-0", LONG), "ann", 1)], within=0.05)
            waiting = asyncio.ensure_future(ask(store))
            await asyncio.sleep(0.05)
            await store.aclose()
            with pytest.raises(StoreUnavailable, match="closed"):
                await waiting


@asynccontextmanager
async def trickling(server: RedisServer) -> AsyncIterator["Trickle"]:
    """Put something before a server that passes answers on in single bytes."""
    trickle = Trickle(server.port)
    listening = await asyncio.start_server(trickle.serve, HOST, 0)
    trickle.port = listening.sockets[0].getsockname()[1]
    try:
        yield trickle
    finally:
        listening.close()
        await listening.wait_closed()
        if trickle.serving:
            await asyncio.wait(trickle.serving)


class Trickle:
    """Passes on what a server answers, byte by byte, and before it what it is told."""

    def __init__(self, upstream: int) -> None:
        self.port = 0
        self.before = b""
        self.serving: set[asyncio.Task[None]] = set()
        self._upstream = upstream

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection."""
        task = asyncio.ensure_future(self._serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        source, sink = await asyncio.open_connection(HOST, self._upstream)
        back = asyncio.ensure_future(self._back(source, writer))
        with suppress(ConnectionError):
            while said := await reader.read(65536):
                sink.write(said)
        sink.close()
        await back

    async def _back(self, source: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):  # who does not understand hangs up
            while said := await source.read(65536):
                for byte in self.before + said:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0)
        writer.close()


async def test_answers_may_come_in_pieces(redis_server: RedisServer) -> None:
    """And after what nobody has asked for."""
    async with trickling(redis_server) as trickle:
        store = RedisStore(f"redis://{HOST}:{trickle.port}")
        assert await ask(store, 3) == [99] * 3
        trickle.before = PUSH
        assert await ask(store, 3) == [98] * 3
        await store.aclose()


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\r\n", b"$3\r\nabc\r\n", b"$3\r\n1 2\r\n", b"*1\r\n:1\r\n", b"$x\r\n"]
)
async def test_what_is_no_answer_is_an_outage(redis_server: RedisServer, nonsense: bytes) -> None:
    """Nobody is told what was meant for another; the next question finds a new connection."""
    async with trickling(redis_server) as trickle:
        store = RedisStore(f"redis://{HOST}:{trickle.port}")
        assert await ask(store, 3) == [99] * 3
        before = carrier(store)
        trickle.before = nonsense
        with pytest.raises(StoreUnavailable):
            await ask(store, 3)
        trickle.before = b""
        assert await ask(store, 3) in ([98] * 3, [97] * 3)
        assert carrier(store) is not before
        await store.aclose()


async def test_an_answer_that_nobody_asked_for_is_an_outage(redis_server: RedisServer) -> None:
    """The connection is left, since whatever follows would be another's."""
    async with trickling(redis_server) as trickle:
        store = RedisStore(f"redis://{HOST}:{trickle.port}")
        assert await ask(store) == [99]
        before = carrier(store)
        before._read(ANSWER)
        assert carrier(store) is None
        assert await ask(store) == [98]
        await store.aclose()


async def test_one_decision_may_be_about_very_many_rules(redis_server: RedisServer) -> None:
    """More keys than a function of Lua may have arguments."""
    store = RedisStore(redis_server.url)
    assert await ask(store, 3000) == [99] * 3000
    await store.aclose()


@pytest.mark.parametrize(
    "value",
    [
        ANSWER,
        PUSH,
        b"+OK\r\n",
        b"-ERR no\r\n",
        b":1\r\n",
        b"_\r\n",
        b"#t\r\n",
        b"$-1\r\n",
        b"$0\r\n\r\n",
        b"*-1\r\n",
        b"*0\r\n",
        b"*2\r\n:1\r\n$2\r\n\r\n\r\n",
        b"%1\r\n+a\r\n*1\r\n:2\r\n",
    ],
)
def test_a_value_ends_where_it_ends(value: bytes) -> None:
    """However much of it is there, and whatever comes before and after."""
    assert [end_of_value(value[:cut], 0) for cut in range(len(value))] == [0] * len(value)
    assert end_of_value(value, 0) == len(value)
    assert end_of_value(b"..." + value + value, 3) == 3 + len(value)


@pytest.mark.parametrize("value", [b"HTTP/1.1\r\n", b"$x\r\n", b"\r\n", b"*1\r\n!\r\n"])
def test_what_is_no_value_is_an_error(value: bytes) -> None:
    """Which is what bytes of another protocol are."""
    with pytest.raises(ValueError, match=r"RESP|invalid literal"):
        end_of_value(value, 0)


async def test_a_store_that_decides_otherwise_is_asked(redis_server: RedisServer) -> None:
    """Though it is one of Redis as well."""

    class Strict(RedisStore):
        async def hit(self, charges: Any, *, within: float | None = None) -> Any:
            return [Decision(admitted=False, remaining=0, reset=1.0, retry_after=1.0)]

    limited = Limited("9/hour", store=Strict(redis_server.url))
    assert await limited.statuses(get()) == [429]


async def test_what_has_no_key_is_exempt(redis_server: RedisServer) -> None:
    """From that rule, and not from the others."""
    nobody = Rule("1/hour", key=lambda scope: None, name="nobody")
    limited = on_redis(nobody, Rule("2/hour", name="all"), url=redis_server.url)
    assert await limited.statuses(get(), get(), get()) == [200, 200, 429]
    assert limited.counts() == [(0, 0, 3), (2, 1, 0)]
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


async def test_names_are_kept_for_so_many_keys(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And every client has counters of its own."""
    monkeypatch.setattr(redis_question, "_MOST_NAMED", 3)
    limited = on_redis("1/hour", Rule("5/hour", key=client_ip), url=redis_server.url)
    for status in (200, 429):
        for client in range(10):
            assert await limited.statuses(get(client=(f"192.0.2.{client}", 1))) == [status]
    plan: Any = limited.layer._fixed
    assert len(plan.straight.ask.__self__._named) <= 3
    await limited.layer._store.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("fields", ["draft-11", "legacy", "both", None])
async def test_fields_are_those_of_any_store(redis_server: RedisServer, fields: Any) -> None:
    """On what is admitted and what is refused, the tightest first."""
    rules = (Rule(Quota(3, 1e7), name="wide"), Rule(Quota(2, 1e7), name="tight"))
    seen = []
    shared = on_redis(*rules, url=redis_server.url, fields=fields)
    for limited in (shared, Limited(*rules, fields=fields)):
        answers = [await get().run(limited.app) for _ in range(3)]
        seen.append(
            [
                [
                    (name, value.split(";t=")[0])
                    for name, value in answer.headers.items()
                    if "ratelimit" in name and name != "x-ratelimit-reset"
                ]
                for answer in answers
            ]
        )
        assert [answer.status for answer in answers] == [200, 200, 429]
    assert seen[0] == seen[1]
    assert bool(seen[0][0]) is (fields is not None)
    await shared.layer._store.aclose()  # type: ignore[attr-defined]
