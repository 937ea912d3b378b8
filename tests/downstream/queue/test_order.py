"""The order of those who wait, against the plainest way to find it."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard.downstream.order import Order, Place

AGING = 5  # seconds; all times are whole, so that both sums are exact


@dataclass(frozen=True)
class Naive:
    """A waiter as the model knows it."""

    number: int
    priority: int
    joined: int

    def effective(self, now: int, aging: int | None) -> float:
        """Return its priority at this time, from the definition: a class more for each `aging`."""
        return self.priority + (0 if aging is None else (now - self.joined) / aging)


def first_of(waiters: list[Naive], now: int, aging: int | None) -> Naive:
    """Return the first in line: the highest class at this time, and of those the oldest."""
    return max(waiters, key=lambda each: (round(each.effective(now, aging), 9), -each.number))


def last_of(waiters: list[Naive], now: int, aging: int | None) -> Naive:
    """Return the last in line: the lowest class at this time, and of those the newest."""
    return min(waiters, key=lambda each: (round(each.effective(now, aging), 9), -each.number))


steps = st.tuples(
    st.sampled_from(["join", "join", "join", "first", "last", "leave"]),
    st.integers(-3, 3),  # priority
    st.integers(0, 8),  # seconds since the step before
    st.integers(0, 30),  # who leaves
)


@given(st.lists(steps, max_size=60), st.sampled_from([AGING, None]))
def test_the_order_is_that_of_the_definition(
    taken: list[tuple[str, int, int, int]], aging: int | None
) -> None:
    """Whatever joins, leaves and is served: sorted once is as good as sorted again each time."""
    order: Order[Naive] = Order(aging)
    model: list[Naive] = []
    places: dict[Naive, Place] = {}
    now = 0
    for number, (step, priority, passed, which) in enumerate(taken):
        now += passed
        if step == "join":
            waiter = Naive(number, priority, now)
            places[waiter] = order.join(waiter, priority, now)
            model.append(waiter)
        elif model and step == "first":
            expected = first_of(model, now, aging)
            assert order.first() is expected
            assert order.pop_first() is expected
            model.remove(expected)
        elif model and step == "last":
            expected = last_of(model, now, aging)
            assert order.pop_last() is expected
            model.remove(expected)
        elif model:
            waiter = model.pop(which % len(model))
            order.leave(places[waiter])
            order.leave(places[waiter])  # a second time changes nothing
        assert len(order) == len(model)
        assert set(order.all()) == set(model)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=50),
    st.integers(0, 2),
)
def test_nobody_is_overtaken_by_who_comes_late(
    others: list[tuple[int, int]], priority: int
) -> None:
    """Who joins more than (q - p) * aging later stays behind: so nobody starves."""
    order: Order[tuple[int, int]] = Order(AGING)
    order.join((-1, 0), priority, 0)
    now = 0
    for other, passed in others:
        now += passed
        order.join((other, now), other, now)
    while (served := order.pop_first()) != (-1, 0):
        assert served[1] <= (served[0] - priority) * AGING


@pytest.mark.parametrize(("later", "first"), [(9.9, "high"), (10.0, "low"), (10.1, "low")], ids=str)
def test_two_classes_are_made_up_for_in_two_agings(later: float, first: str) -> None:
    """And where they are equal, the older one is first."""
    order: Order[str] = Order(5.0)
    order.join("low", 0, 0.0)
    order.join("high", 2, later)
    assert order.pop_first() == first


def test_without_aging_classes_are_strict() -> None:
    """However long somebody has waited."""
    order: Order[str] = Order(None)
    order.join("low", 0, 0.0)
    order.join("high", 2, 1e9)
    assert [order.pop_first(), order.pop_first()] == ["high", "low"]
