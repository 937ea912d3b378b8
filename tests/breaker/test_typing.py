"""Types survive decoration: mypy reads this file, strictly, with the others."""

from collections.abc import AsyncIterator, Iterator
from typing import assert_type

from asgi_guard import CircuitBreaker

it = CircuitBreaker("typing")


@it
def plain(number: int, *, word: str = "") -> str:
    """Be plain."""
    return word * number


@it
async def waits(number: int) -> list[int]:
    """Be awaited."""
    return [number]


@it
def items(number: int) -> Iterator[int]:
    """Be a generator."""
    yield number


@it
async def aitems(number: int) -> AsyncIterator[int]:
    """Be an async one."""
    yield number


class Client:
    """Has methods."""

    @it
    def method(self, number: int) -> float:
        """Be one of them."""
        return number / 2


async def test_types_survive() -> None:
    """Arguments and results; a wrong argument is an error that mypy must see."""
    assert assert_type(plain(2, word="a"), str) == "aa"
    assert assert_type(await waits(1), list[int]) == [1]
    assert [assert_type(each, int) for each in items(1)] == [1]
    assert [assert_type(each, int) async for each in aitems(1)] == [1]
    assert assert_type(Client().method(1), float) == 0.5
    assert assert_type(it.call(plain, 1, word="b"), str) == "b"
    assert assert_type(await it.acall(waits, 2), list[int]) == [2]
    if it.state.value == "never":
        plain("2")  # type: ignore[arg-type]
        await waits()  # type: ignore[call-arg]
