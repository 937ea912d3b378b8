"""Engines that are guarded, left alone and guarded again, and errors that are told to nobody."""

import gc
import weakref
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
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
