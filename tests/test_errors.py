"""Errors: what they show of values."""

import pytest

from asgi_guard.errors import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("5/minute", "'5/minute'"),
        ("redis://ann:secret@host/0", "'redis://***"),
        (["a", "redis://ann:secret@host", "b"], "['a', 'redis://***"),
        ("://secret", "'://***"),
        ("x" * 500, "'" + "x" * 199 + "…"),
    ],
)
def test_a_value_is_short_and_without_secrets(value: object, text: str) -> None:
    """Of a URL the scheme is shown, and nothing after it."""
    assert shown(value) == text


def test_what_a_client_chose_is_read_once() -> None:
    """A pattern that begins anew at every character would take half an hour for this."""
    assert shown("a" * 1_000_000) == "'" + "a" * 199 + "…"
