"""What the parts that plug into clients are held against when they are made."""

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.errors import ConfigurationError


def check_breaker(field: str, value: object) -> None:
    """Require a breaker."""
    if not isinstance(value, CircuitBreaker):
        raise ConfigurationError(field, value, "a CircuitBreaker")


def check_key(key: object) -> None:
    """Require what a result can be kept under."""
    try:
        hash(key)
    except TypeError:
        raise ConfigurationError(
            "Downstream.fetch.key", key, "what can be hashed, such as a string, a number or a tuple"
        ) from None
