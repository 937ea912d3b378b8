"""What the parts that plug into clients are held against when they are made."""

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.errors import ConfigurationError


def check_breaker(field: str, value: object) -> None:
    """Require a breaker."""
    if not isinstance(value, CircuitBreaker):
        raise ConfigurationError(field, value, "a CircuitBreaker")
