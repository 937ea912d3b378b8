"""The downstreams that an app names, checked, and the breakers they bring."""

from collections.abc import Sequence

from asgi_guard.breaker.breaker import CircuitBreaker
from asgi_guard.downstream.downstream import Downstream
from asgi_guard.errors import ConfigurationError


def check_downstreams(field: str, value: object) -> tuple[Downstream, ...]:
    """Require downstreams with names of their own.

    Raises:
        ConfigurationError: Two have one name, or one is no `Downstream`.
    """
    if not isinstance(value, list | tuple):
        raise ConfigurationError(field, value, "a list of Downstream objects")
    names: set[str] = set()
    for each in value:
        if not isinstance(each, Downstream):
            raise ConfigurationError(field, each, "Downstream objects")
        if each.name in names:
            raise ConfigurationError(
                "Downstream.name", each.name, "a name that no other downstream has"
            )
        names.add(each.name)
    return tuple(value)


def with_theirs(
    breakers: Sequence[CircuitBreaker], downstreams: Sequence[Downstream]
) -> tuple[CircuitBreaker, ...]:
    """Return the breakers and those of the downstreams, each once."""
    theirs = [each.breaker for each in downstreams if each.breaker is not None]
    return tuple({id(breaker): breaker for breaker in (*breakers, *theirs)}.values())
