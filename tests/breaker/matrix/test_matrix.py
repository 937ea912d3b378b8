"""Ours passes every row; those of others are looked at by `./run bench --breakers`."""

import pytest

from tests.breaker.matrix.breakers import SUBJECTS, DownError, Subject
from tests.breaker.matrix.rows import ROWS, Row, call, cell


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
async def test_ours_passes(row: Row) -> None:
    """Every row."""
    assert await cell(row, SUBJECTS["asgi_guard"]) == row.wanted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SUBJECTS)
async def test_each_trips_on_three_failures(name: str) -> None:
    """Or the matrix compared nothing."""
    it: Subject = SUBJECTS[name]()
    assert await call(it)
    for _ in range(3):
        await call(it, DownError())
    assert not await call(it)
