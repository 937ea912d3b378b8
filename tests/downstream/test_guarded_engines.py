"""Engines that are guarded, left alone and guarded again, and errors that are told to nobody."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from asgi_guard import CircuitBreaker, CircuitOpen, ConfigurationError
from asgi_guard.downstream.sqlalchemy import guard_engine
from asgi_guard.pools.sqlalchemy import watch_engine
from asgi_guard.testing import FakeClock
from tests.downstream.conftest import breaker, counts

OFTEN = 1500  # calls within calls would be too many for Python


@pytest.fixture
def engine() -> Engine:
    """Return an engine with a pool that callers wait for."""
    return create_engine("sqlite://", poolclass=QueuePool)


@pytest.fixture
def shop(clock: FakeClock) -> CircuitBreaker:
    """Return the breaker."""
    return breaker(clock)


def ask(engine: Engine) -> None:
    """Execute a statement on a connection of the pool."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))


def test_guarded_again_and_again(engine: Engine, shop: CircuitBreaker) -> None:
    """Each time it is as it was before, and no call goes through more than it must."""
    before = dict(vars(engine.pool))
    for _ in range(OFTEN):
        guard_engine(engine, shop)()
        assert vars(engine.pool) == before
    detach = guard_engine(engine, shop)
    ask(engine)
    assert counts(shop) == (2, 0, 0, 0)
    detach()
    ask(engine)
    assert counts(shop) == (2, 0, 0, 0)


def test_guarded_again_inside_of_a_watch(engine: Engine, shop: CircuitBreaker) -> None:
    """What others have put round the pool stays, and what is inside of it is used again."""
    detach = guard_engine(engine, shop)
    watch = watch_engine(engine)
    for _ in range(OFTEN):
        detach()
        detach = guard_engine(engine, shop)
    ask(engine)
    assert counts(shop) == (2, 0, 0, 0)
    shop.force_open()
    with pytest.raises(CircuitOpen):
        ask(engine)
    assert counts(shop) == (2, 0, 0, 1)
    detach()
    ask(engine)
    assert watch.snapshot().open == 1


def test_guarded_outside_of_a_watch(engine: Engine, shop: CircuitBreaker) -> None:
    """The watch goes on when the guard has gone."""
    watch_engine(engine)
    before = dict(vars(engine.pool))
    guard_engine(engine, shop)()
    assert vars(engine.pool) == before
    assert "connect" in before


def test_guarded_twice(engine: Engine, shop: CircuitBreaker) -> None:
    """By the same breaker it is guarded once; no call counts twice."""
    detach = guard_engine(engine, shop)
    guard_engine(engine, shop)
    ask(engine)
    assert counts(shop) == (2, 0, 0, 0)
    detach()
    ask(engine)
    assert counts(shop) == (2, 0, 0, 0)


def test_guarded_by_another(engine: Engine, shop: CircuitBreaker, clock: FakeClock) -> None:
    """An engine has one breaker; another can take its place."""
    detach = guard_engine(engine, shop)
    other = breaker(clock)
    with pytest.raises(ConfigurationError, match=r"guards this engine already \(shop\)"):
        guard_engine(engine, other)
    detach()
    guard_engine(engine, other)
    detach()
    ask(engine)
    assert (counts(shop), counts(other)) == ((0, 0, 0, 0), (2, 0, 0, 0))


def test_engines_of_one_pool(engine: Engine, shop: CircuitBreaker, clock: FakeClock) -> None:
    """Each has a breaker; whoever would wait is refused by either."""
    other = breaker(clock)
    twin = create_engine("sqlite://", pool=engine.pool)
    detach, detach_twin = guard_engine(engine, shop), guard_engine(twin, other)
    other.force_open()
    with pytest.raises(CircuitOpen):
        ask(engine)
    detach_twin()
    ask(engine)
    detach()
    assert "connect" not in vars(engine.pool)


def test_pools_that_are_made_anew(engine: Engine, shop: CircuitBreaker) -> None:
    """The old ones are forgotten, and the last one is left as it was."""
    detach = guard_engine(engine, shop)
    old = weakref.ref(engine.pool)
    engine.dispose()
    gc.collect()
    assert old() is None
    ask(engine)
    detach()
    assert "connect" not in vars(engine.pool)


def test_engines_that_are_forgotten(shop: CircuitBreaker) -> None:
    """Nothing keeps an engine that nobody has any more."""
    engine: Any = create_engine("sqlite://")
    guard_engine(engine, shop)
    ask(engine)
    gone = weakref.ref(engine)
    engine.dispose()
    del engine
    gc.collect()
    assert gone() is None


def told_to_nobody(engine: Engine, shop: CircuitBreaker) -> None:
    """Fail where `handle_error` is not told, as the option says that dialects use themselves."""
    guard_engine(engine, shop)
    with engine.connect() as connection:
        silent = connection.execution_options(skip_user_error_events=True)
        silent.execute(text("SELEC 1"))


def told_to_another(engine: Engine, shop: CircuitBreaker) -> None:
    """Fail where somebody makes another error of it, who was told first."""

    @event.listens_for(engine, "handle_error")
    def translate(_: object) -> None:
        raise KeyError

    guard_engine(engine, shop)
    with engine.connect() as connection:
        connection.execute(text("SELEC 1"))


def failing_while_it_fails(engine: Engine, shop: CircuitBreaker) -> None:
    """Fail, and once more in what hears of it."""

    @event.listens_for(engine, "handle_error")
    def ask_more(context: ExceptionContext) -> None:
        assert context.connection is not None
        with pytest.raises(DBAPIError):
            context.connection.execute(text("SELEC 2"))

    guard_engine(engine, shop)
    with engine.connect() as connection:
        connection.execute(text("SELEC 1"))


@pytest.mark.parametrize(
    ("fail", "successes"),
    [(told_to_nobody, 2), (told_to_another, 2), (failing_while_it_fails, 3)],
)
def test_errors_that_are_told_to_nobody(
    engine: Engine,
    shop: CircuitBreaker,
    fail: Callable[[Engine, CircuitBreaker], None],
    successes: int,
) -> None:
    """They count all the same: no attempt, and no trial, is left behind."""
    with pytest.raises((DBAPIError, KeyError)):
        fail(engine, shop)
    assert counts(shop) == (successes, 0, 0, 0)


@pytest.mark.parametrize("silent", [False, True])
def test_a_listener_that_fails(engine: Engine, shop: CircuitBreaker, silent: bool) -> None:
    """Of its own accord: the statement was never sent, and is no call."""
    guard_engine(engine, shop)

    @event.listens_for(engine, "before_cursor_execute")
    def fail(*_: object) -> None:
        raise KeyError

    with engine.connect() as connection, pytest.raises(KeyError):
        connection.execution_options(skip_user_error_events=silent).execute(text("SELECT 1"))
    assert counts(shop) == (1, 0, 0, 0)


def test_others_may_execute(engine: Engine, shop: CircuitBreaker) -> None:
    """Whoever listens is asked, once, and may execute in the place of the driver."""
    heard: list[str] = []

    def hear(_: object, statement: str, *__: object) -> None:
        heard.append(statement)

    def execute(cursor: Any, *_: object) -> bool:
        cursor.execute("SELECT 'theirs'")
        return True

    event.listen(engine, "do_execute", hear)
    guard_engine(engine, shop)
    event.listen(engine, "do_execute", execute)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT 'ours'")).scalar() == "theirs"
    assert heard[-1:] == ["SELECT 'ours'"]
    assert heard.count("SELECT 'ours'") == 1
    assert counts(shop) == (2, 0, 0, 0)


def test_statements_of_every_kind(engine: Engine, shop: CircuitBreaker) -> None:
    """With parameters, with many of them, and with none."""
    guard_engine(engine, shop)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE shelf (name TEXT)"))
        rows = [{"name": "left"}, {"name": "right"}]
        connection.execute(text("INSERT INTO shelf VALUES (:name)"), rows)
        bare = connection.execution_options(no_parameters=True)
        assert bare.exec_driver_sql("SELECT count(*) FROM shelf").scalar() == 2
    assert counts(shop) == (4, 0, 0, 0)
