"""The terms of bans, and their arithmetic: who is banned, for how long, and when it is forgiven."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_guard import Ban, ConfigurationError
from asgi_guard.rate_limit.ban import (
    MARGIN,
    Record,
    after_refusal,
    matters_until,
    rest_of_ban,
    while_banned,
)

TERMS = st.builds(
    lambda after, within, lasts, multiplier, times: Ban(
        after, within=within, lasts=lasts, multiplier=multiplier, longest=lasts * times
    ),
    st.integers(1, 6),
    st.floats(0.5, 100.0),
    st.floats(0.5, 100.0),
    st.floats(1.0, 5.0),
    st.floats(1.0, 50.0),
)
WAITS = st.lists(st.floats(0.0, 150.0), min_size=1, max_size=80)
TIMES = st.floats(0.0, 1e9)


def ban_from(ban: Ban, now: float, record: Record | None = None) -> tuple[Record, float]:
    """Refuse a key in one moment until it is banned; return what is known, and for how long."""
    for _ in range(ban.after):
        assert not rest_of_ban(record, now)
        record, lasts = after_refusal(ban, record, now)
    assert record is not None
    return record, lasts


@given(TERMS, WAITS)
def test_nobody_is_banned_before_so_many_refusals(ban: Ban, waits: list[float]) -> None:
    """That came within the time, none of them during a ban, and none twice."""
    now, record, refused = 1000.0, None, []
    for wait in waits:
        now += wait
        if rest_of_ban(record, now):
            continue
        refused.append(now)
        record, lasts = after_refusal(ban, record, now)
        if lasts:
            assert len(refused) >= ban.after
            assert now - refused[-ban.after] < ban.within
            refused = []


@given(TERMS, TIMES)
def test_so_many_refusals_at_once_ban_whoever_was_quiet(ban: Ban, now: float) -> None:
    """With the last of them."""
    record: Record | None = None
    for _ in range(ban.after - 1):
        record, lasts = after_refusal(ban, record, now)
        assert lasts == 0.0
        assert rest_of_ban(record, now) == 0.0
    record, lasts = after_refusal(ban, record, now)
    assert lasts == ban.lasts


@given(TERMS, TIMES, st.floats(0.0, 1.0))
def test_a_ban_lasts_as_long_as_told(ban: Ban, now: float, share: float) -> None:
    """To the microsecond, whenever it is asked; who waits as long as told is free."""
    record, lasts = ban_from(ban, now)
    assert abs(rest_of_ban(record, now) - lasts) < MARGIN
    later = now + share * (lasts - 2 * MARGIN)
    rest = rest_of_ban(record, later)
    assert rest > 0.0
    assert abs(later + rest - (now + lasts)) < MARGIN
    assert rest_of_ban(record, later + rest) == 0.0
    assert rest_of_ban(record, now + lasts) == 0.0


@given(TERMS, st.lists(st.floats(0.0, 2.0), min_size=1, max_size=30))
def test_each_ban_is_longer_until_the_key_is_forgiven(ban: Ban, pauses: list[float]) -> None:
    """By the multiplier, never above the longest; a pause as long as the last ban forgives."""
    now = 1000.0
    record, lasts = ban_from(ban, now)
    for pause in pauses:
        expected = min(ban.longest, lasts * ban.multiplier)
        if abs(pause - 1.0) < MARGIN:
            continue
        if pause > 1.0:
            expected = ban.lasts
        now += lasts + pause * lasts
        record, lasts = ban_from(ban, now, record)
        assert lasts == pytest.approx(expected)
        assert lasts <= ban.longest


@given(TERMS, st.floats(0.01, 0.99), st.integers(1, 20))
def test_a_key_that_is_refused_now_and_then_is_not_forgiven(
    ban: Ban, pause: float, times: int
) -> None:
    """Nobody is who comes back before as long as the last ban lasted."""
    record, lasts = ban_from(ban, 1000.0)
    now = 1000.0 + lasts
    first = lasts
    for _ in range(times):
        now += pause * first
        record, again = after_refusal(ban, record, now)
        if again:
            assert again == pytest.approx(min(ban.longest, first * ban.multiplier))
            return
    assert record.forgiven_at == pytest.approx(now + first)


@given(TERMS, WAITS, TIMES)
def test_a_record_matters_no_more_when_it_says(ban: Ban, waits: list[float], later: float) -> None:
    """From then on, whoever is refused is as one who never was."""
    now, record = 1000.0, None
    for wait in waits:
        now += wait
        if not rest_of_ban(record, now):
            record, _ = after_refusal(ban, record, now)
    assert record is not None
    now = max(now, matters_until(ban, record) + MARGIN + later)
    assert not rest_of_ban(record, now)
    (known, lasts), (fresh, same) = (after_refusal(ban, each, now) for each in (record, None))
    assert lasts == same
    assert (known.began, known.refusals, known.lasts) == (fresh.began, fresh.refusals, fresh.lasts)
    assert known.forgiven_at == fresh.forgiven_at


@pytest.mark.parametrize(
    ("decided", "told"),
    [
        ((True, 3, 1.0, 0.0), (False, 0, 5.0, 5.0)),
        ((False, 0, 1.0, 2.0), (False, 0, 5.0, 5.0)),
        ((False, 0, 7.0, 9.0), (False, 0, 7.0, 9.0)),
        ((False, 2, 7.0, 9.0), (False, 0, 5.0, 9.0)),
        ((False, 0, 7.0, None), (False, 0, 7.0, None)),
    ],
)
def test_a_banned_key_is_told_the_later_end(decided: Any, told: Any) -> None:
    """Of ban and quota; and nothing remains. What never fits has no wait that helps."""
    assert while_banned(decided, 5.0) == told


@pytest.mark.parametrize(
    ("field", "more"),
    [
        ("after", {"after": 0}),
        ("after", {"after": 1.5}),
        ("after", {"after": True}),
        ("after", {"after": 1_000_001}),
        ("within", {"within": 0}),
        ("lasts", {"lasts": -1}),
        ("lasts", {"lasts": "60"}),
        ("multiplier", {"multiplier": 0.5}),
        ("multiplier", {"multiplier": True}),
        ("multiplier", {"multiplier": float("nan")}),
        ("multiplier", {"multiplier": 1001}),
        ("longest", {"longest": float("inf")}),
        ("longest", {"lasts": 100, "longest": 99}),
    ],
)
def test_a_wrong_ban_does_not_start(field: str, more: dict[str, Any]) -> None:
    """The field is named."""
    terms: dict[str, Any] = {"after": 3, **more}
    with pytest.raises(ConfigurationError, match=rf"Ban\.{field}"):
        Ban(terms.pop("after"), **terms)
