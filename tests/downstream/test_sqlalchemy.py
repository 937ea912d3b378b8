"""Engines behind breakers, on a real PostgreSQL that goes away and comes back."""

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import psycopg
import pytest
from anyio import to_thread
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from asgi_guard import CircuitBreaker, CircuitOpen, ConfigurationError
from asgi_guard.downstream.sqlalchemy import guard_engine
from asgi_guard.testing import FakeClock
from tests.downstream.conftest import LOOPS, breaker, counts
from tests.pools.postgres import PASSWORD, Postgres
from tests.processes import HOST, Children, until

AT_ONCE = 0.5  # seconds
CROWD = 20
LONG = "SELECT pg_sleep(2)"
COMBINED = [("psycopg", "asyncio"), ("asyncpg", "asyncio"), ("asyncpg", "uvloop")]


@pytest.fixture(scope="module")
def shared_postgres(children: Children) -> Postgres:
    """Return a server of our own, which may be killed."""
    postgres = Postgres(children, children.folder / "postgres-behind-a-breaker")
    with control(postgres) as connection:
        connection.execute("ALTER SYSTEM SET log_connections = on")
        connection.execute("SELECT pg_reload_conf()")
    return postgres


@pytest.fixture
def postgres(shared_postgres: Postgres) -> Iterator[Postgres]:
    """Return that server, and see that it is there for the next test."""
    yield shared_postgres
    if shared_postgres.child.process.poll() is not None:
        shared_postgres.restart()


@pytest.fixture(params=COMBINED, ids="-".join)
def combined(request: pytest.FixtureRequest) -> Any:
    """Return a driver, and the loop it runs on."""
    return request.param


@pytest.fixture
def anyio_backend(combined: tuple[str, str]) -> Any:
    """Run on that loop."""
    return LOOPS[combined[1]]


class Database:
    """An engine, sync or async, asked in the same way."""

    def __init__(self, driver: str, url: str, **options: Any) -> None:
        make: Any = create_async_engine if driver == "asyncpg" else create_engine
        self.engine: Engine | AsyncEngine = make(url, **options)

    @property
    def sync_engine(self) -> Engine:
        """The engine that events are heard on."""
        return self.engine.sync_engine if isinstance(self.engine, AsyncEngine) else self.engine

    @property
    def used(self) -> int:
        """How many connections of the pool are lent."""
        pool: Any = self.sync_engine.pool
        return int(pool.checkedout())

    async def run(self, *statements: str) -> Any:
        """Execute statements on one connection, commit, and return what the last one gives."""
        if isinstance(self.engine, AsyncEngine):
            async with self.engine.begin() as connection:
                for statement in statements:
                    result = await connection.execute(text(statement))
        else:
            return await to_thread.run_sync(self._run, statements)
        return result.scalar() if result.returns_rows else None

    def _run(self, statements: tuple[str, ...]) -> Any:
        engine = self.engine
        assert isinstance(engine, Engine)
        with engine.begin() as connection:
            for statement in statements:
                result = connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None

    async def dispose(self) -> None:
        """Close all connections."""
        if isinstance(self.engine, AsyncEngine):
            await self.engine.dispose()
        else:
            self.engine.dispose()


@pytest.fixture
async def database(combined: tuple[str, str], postgres: Postgres) -> AsyncIterator[Database]:
    """Return an engine whose pool holds three."""
    driver = combined[0]
    limits: dict[str, Any] = {"pool_size": 2, "max_overflow": 1, "pool_timeout": 0.6}
    database = Database(driver, postgres.url(driver), **limits)
    yield database
    await database.dispose()


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


async def test_connecting_and_each_statement(database: Database, shop: CircuitBreaker) -> None:
    """Each of them is a call; a connection of the pool need not be made."""
    guard_engine(database.engine, shop)
    assert await database.run("SELECT 1") == 1
    assert counts(shop) == (2, 0, 0, 0)
    assert await database.run("SELECT 1", "SELECT 2") == 2
    assert counts(shop) == (4, 0, 0, 0)


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELEC 1", ProgrammingError),
        ("SELECT 1/0", DBAPIError),
        ("INSERT INTO pg_namespace SELECT * FROM pg_namespace LIMIT 1", IntegrityError),
    ],
)
async def test_what_the_database_answers_with(
    database: Database, shop: CircuitBreaker, statement: str, error: type[Exception]
) -> None:
    """Its errors about a statement show that it is well."""
    await database.run("SELECT 1")
    guard_engine(database.engine, shop)
    with pytest.raises(error):
        await database.run(statement)
    assert counts(shop) == (1, 0, 0, 0)


@pytest.mark.parametrize("code", ["53200", "57P03", "08006"])
async def test_states_that_say_it_is_unwell(
    database: Database, shop: CircuitBreaker, code: str
) -> None:
    """SQLSTATE tells, whatever class the driver makes of it."""
    await database.run("SELECT 1")
    guard_engine(database.engine, shop)
    with pytest.raises(DBAPIError):
        await database.run(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$")
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_connection_that_is_ended(
    database: Database, shop: CircuitBreaker, postgres: Postgres
) -> None:
    """It is a failure, and the next call connects anew."""
    backend = await database.run("SELECT pg_backend_pid()")
    guard_engine(database.engine, shop)
    end_backend(postgres, backend)
    with pytest.raises(DBAPIError):
        await database.run("SELECT 1")
    assert counts(shop) == (0, 1, 0, 0)
    assert await database.run("SELECT 1") == 1
    assert counts(shop) == (2, 1, 0, 0)


async def test_a_connection_that_is_ended_untold(
    database: Database, shop: CircuitBreaker, postgres: Postgres
) -> None:
    """Where nobody is to be told of errors, it is a failure as well, and a trial is given back."""
    backend = await database.run("SELECT pg_backend_pid()")
    guard_engine(database.engine, shop)
    event.listen(database.sync_engine, "engine_connect", _tell_nobody)
    end_backend(postgres, backend)
    with pytest.raises(DBAPIError):
        await database.run("SELECT 1")
    assert counts(shop) == (0, 1, 0, 0)


async def test_a_commit_that_fails(
    database: Database, shop: CircuitBreaker, postgres: Postgres
) -> None:
    """It counts as well, though it is no statement."""
    backend = await database.run("SELECT pg_backend_pid()")
    guard_engine(database.engine, shop)

    @event.listens_for(database.sync_engine, "commit")
    def end(_: object) -> None:
        end_backend(postgres, backend)

    with pytest.raises(DBAPIError):
        await database.run("SELECT 1")
    assert counts(shop) == (1, 1, 0, 0)


async def test_a_password_that_is_refused(
    combined: tuple[str, str], postgres: Postgres, shop: CircuitBreaker
) -> None:
    """Where the driver tells the state, the database has answered."""
    url = postgres.url(combined[0]).replace("postgres:", "postgres:x", 1)
    database = Database(combined[0], url)
    guard_engine(database.engine, shop)
    with pytest.raises(Exception, match="password"):
        await database.run("SELECT 1")
    # psycopg does not tell the state of what goes wrong while it connects.
    assert counts(shop) == ((1, 0, 0, 0) if combined[0] == "asyncpg" else (0, 1, 0, 0))
    await database.dispose()


async def test_a_pool_that_is_full(
    database: Database, shop: CircuitBreaker, postgres: Postgres
) -> None:
    """It is ours: it says nothing about the database."""
    guard_engine(database.engine, shop)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(database.run, LONG)
        await to_thread.run_sync(until, lambda: sleeping(postgres) == 3)
        before = counts(shop)
        with pytest.raises(PoolTimeoutError):
            await database.run("SELECT 1")
        assert counts(shop) == before
    assert counts(shop) == (6, 0, 0, 0)


async def test_an_open_breaker_does_not_wait_for_the_pool(
    database: Database, shop: CircuitBreaker, postgres: Postgres
) -> None:
    """With every connection lent, callers are refused at once, and as what they are."""
    guard_engine(database.engine, shop)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(database.run, LONG)
        await to_thread.run_sync(until, lambda: sleeping(postgres) == 3)
        shop.force_open(5.0)
        began = time.monotonic()
        with pytest.raises(CircuitOpen):
            await database.run("SELECT 1")
        assert time.monotonic() - began < AT_ONCE
    assert database.used == 0


async def test_a_statement_that_is_refused(database: Database, shop: CircuitBreaker) -> None:
    """In the middle of a transaction as well: as it is, with no connection lost."""
    guard_engine(database.engine, shop)
    engine = database.sync_engine
    after_one = event.listens_for(engine, "after_cursor_execute")

    @after_one
    def trip(*_: object) -> None:
        shop.force_open()

    with pytest.raises(CircuitOpen) as refused:
        await database.run("SELECT 1", "SELECT 2")
    assert type(refused.value) is CircuitOpen
    assert database.used == 0
    assert counts(shop) == (2, 0, 0, 1)
    event.remove(engine, "after_cursor_execute", trip)
    shop.close()
    assert await database.run("SELECT 3") == 3


async def test_a_caller_who_gives_up(database: Database, shop: CircuitBreaker) -> None:
    """A statement that is cancelled says nothing."""
    if isinstance(database.engine, Engine):
        return  # a thread cannot be cancelled
    await database.run("SELECT 1")
    guard_engine(database.engine, shop)
    with anyio.move_on_after(0.2):
        await database.run("SELECT pg_sleep(5)")
    assert counts(shop) == (0, 0, 1, 0)


async def test_a_statement_that_takes_too_long(
    combined: tuple[str, str], postgres: Postgres, shop: CircuitBreaker
) -> None:
    """A timeout of the driver is a failure."""
    if combined[0] != "asyncpg":
        return  # psycopg has none of its own
    database = Database(combined[0], postgres.url("asyncpg"), connect_args={"command_timeout": 0.2})
    guard_engine(database.engine, shop)
    before = await database.run("SELECT 1"), counts(shop)
    with pytest.raises(TimeoutError):
        await database.run("SELECT pg_sleep(5)")
    assert counts(shop)[1] == before[1][1] + 1
    await database.dispose()


@pytest.mark.parametrize("later", [True, False])
async def test_others_may_listen_to_connecting(
    database: Database, shop: CircuitBreaker, later: bool
) -> None:
    """Whoever changes how is connected, or connects, is asked, registered before or after."""
    heard: list[str] = []

    def listen() -> None:
        @event.listens_for(database.sync_engine, "do_connect")
        def connecting(_: Any, __: Any, ___: Any, parameters: dict[str, Any]) -> None:
            heard.append(parameters["user"])

    if not later:
        listen()
    detach = guard_engine(database.engine, shop)
    if later:
        listen()
    await database.run("SELECT 1")
    assert heard == ["postgres"]
    detach()


async def test_detached(database: Database, shop: CircuitBreaker) -> None:
    """Then the engine is as it was."""
    detach = guard_engine(database.engine, shop)
    await database.run("SELECT 1")
    detach()
    detach()
    shop.force_open()
    assert await database.run("SELECT 1") == 1
    assert counts(shop) == (2, 0, 0, 0)


async def test_a_pool_that_is_made_anew(database: Database, shop: CircuitBreaker) -> None:
    """After `dispose()` as before."""
    guard_engine(database.engine, shop)
    await database.dispose()
    shop.force_open()
    with pytest.raises(CircuitOpen):
        await database.run("SELECT 1")
    assert counts(shop) == (0, 0, 0, 1)


async def test_a_stale_connection_that_is_pinged(
    combined: tuple[str, str], postgres: Postgres, shop: CircuitBreaker
) -> None:
    """With `pool_pre_ping` a connection that has gone is no failure, when another can be made."""
    database = Database(combined[0], postgres.url(combined[0]), pool_pre_ping=True)
    backend = await database.run("SELECT pg_backend_pid()")
    guard_engine(database.engine, shop)
    end_backend(postgres, backend)
    assert await database.run("SELECT 1") == 1
    assert counts(shop) == (2, 0, 0, 0)
    await database.dispose()


async def test_a_database_that_goes_and_comes_back_under_load(
    database: Database, shop: CircuitBreaker, postgres: Postgres, clock: FakeClock
) -> None:
    """Calls fail fast while it is away; one connection at a time tries, and then all are served."""
    guard_engine(database.engine, shop)
    assert await crowd(database) == CROWD
    postgres.kill()
    while shop.state.value != "open":
        assert await crowd(database) == 0
    refused = counts(shop)[3]
    began = time.monotonic()
    assert await crowd(database) == 0
    assert time.monotonic() - began < AT_ONCE
    assert counts(shop)[3] == refused + CROWD
    clock.advance(5.0)
    assert await crowd(database) == 0  # one of them has tried in vain
    assert counts(shop)[3] >= refused + 2 * CROWD - 1
    assert shop.retry_after == 10.0
    postgres.restart()
    tried: list[int] = []
    shop.add_listener(lambda *_: tried.append(connections(postgres)))
    before = connections(postgres)
    clock.advance(10.0)
    await crowd(database, "SELECT pg_sleep(0.1)")
    assert shop.state.value == "closed"
    assert len(tried) == 2  # half-open, closed
    assert tried[-1] - before <= 2
    assert await crowd(database) == CROWD
    assert database.used == 0


def test_what_is_no_engine(shop: CircuitBreaker) -> None:
    """It is said at once, without what it is: it may hold a password."""
    wrong: Any = "postgresql://postgres:secret@localhost/"
    with pytest.raises(ConfigurationError, match="an Engine or AsyncEngine") as refused:
        guard_engine(wrong, shop)
    assert "secret" not in str(refused.value)
    with pytest.raises(ConfigurationError, match="a CircuitBreaker"):
        guard_engine(create_engine("sqlite://"), wrong)


def test_sqlite(shop: CircuitBreaker) -> None:
    """A mistake in a statement is an OperationalError there, and no failure."""
    engine = create_engine("sqlite://")
    guard_engine(engine, shop)
    with engine.connect() as connection:
        with pytest.raises(DBAPIError):
            connection.execute(text("SELEC 1"))
        connection.execute(text("SELECT 1"))
    assert counts(shop) == (3, 0, 0, 0)
    engine.dispose()


def test_statements_within_statements_are_calls_of_their_own(shop: CircuitBreaker) -> None:
    """A listener that asks the database something before each statement does so."""
    engine = create_engine("sqlite://")
    guard_engine(engine, shop)
    with engine.connect() as connection:

        @event.listens_for(engine, "before_cursor_execute")
        def ask_first(*said: Any) -> None:
            if "1" in said[2]:
                connection.execute(text("SELECT 2"))

        connection.execute(text("SELECT 1"))
    assert counts(shop) == (3, 0, 0, 0)  # with the connection
    engine.dispose()


def _tell_nobody(connection: Connection) -> None:
    connection.execution_options(skip_user_error_events=True)


async def crowd(database: Database, statement: str = "SELECT 1") -> int:
    """Let many ask at once; return how many were answered."""
    answered = 0

    async def ask() -> None:
        nonlocal answered
        try:
            await database.run(statement)
        except (CircuitOpen, DBAPIError, OSError):
            return
        answered += 1

    async with anyio.create_task_group() as group:
        for _ in range(CROWD):
            group.start_soon(ask)
    return answered


def control(postgres: Postgres) -> "psycopg.Connection[Any]":
    """Return a connection past what is tested."""
    return psycopg.connect(
        host=HOST, port=postgres.port, user="postgres", password=PASSWORD, autocommit=True
    )


def end_backend(postgres: Postgres, backend: int) -> None:
    """End the connection that a backend serves, and wait until it has gone."""
    with control(postgres) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])


def sleeping(postgres: Postgres) -> int:
    """Return how many of the long statements are at work."""
    with control(postgres) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query = %s",
            [LONG],
        ).fetchone()
    assert row is not None
    return int(row[0])


def connections(postgres: Postgres) -> int:
    """Return how many connections the server has had since it was started."""
    return postgres.child.log.read_text().count("connection authorized")
