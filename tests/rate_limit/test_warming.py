"""What a store has admitted is charged in this process too: later, but before it matters."""

from collections.abc import Sequence

import pytest

from asgi_guard.rate_limit.rules.warming import Warming


class Rules:
    """Rules that know what they were charged."""

    def __init__(self) -> None:
        self.charged: list[tuple[str, float]] = []

    def warm(self, keys: Sequence[str], now: float) -> None:
        """Take note."""
        self.charged.append((keys[0], now))


def test_each_is_charged_once_at_its_own_time() -> None:
    """In the order of the requests, whichever rules they met."""
    warming, rules, others = Warming(), Rules(), Rules()
    warming.note(rules, ("ann",), 1.0)
    warming.note(others, ("ann",), 1.5)
    warming.note(rules, ("bob",), 2.0)
    assert rules.charged == []
    warming.catch_up()
    warming.catch_up()
    assert (rules.charged, others.charged) == ([("ann", 1.0), ("bob", 2.0)], [("ann", 1.5)])


@pytest.mark.parametrize("requests", [64, 1000])
def test_few_are_waiting_to_be_charged(requests: int) -> None:
    """However many there were before the store is out."""
    warming, rules = Warming(), Rules()
    for number in range(requests):
        warming.note(rules, (str(number),), float(number))
        assert len(rules.charged) > number - 64
    charged = requests // 64 * 64
    assert [key for key, _ in rules.charged] == [str(number) for number in range(charged)]
