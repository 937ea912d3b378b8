"""Exemptions: whom and what a limit leaves alone."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from asgi_guard._asgi import Scope
from asgi_guard._checks import check_function
from asgi_guard.callback import Callback, wrong_answer
from asgi_guard.errors import ConfigurationError
from asgi_guard.matching import compile_exact_path
from asgi_guard.networks import Network, knowing, parse_network

Exempt: TypeAlias = Sequence[str | Callable[[Scope], bool | Awaitable[bool]]]
"""Networks in CIDR notation, path patterns, and functions of the scope: any of them exempts."""

PlainTest: TypeAlias = Callable[[Scope], bool]

_ALLOWED = (
    "None, or a sequence of networks such as '10.0.0.0/8', path patterns such as '/health' or "
    "'/static/*', and functions of the scope, plain or async, that return True or False"
)


@dataclass(frozen=True, slots=True)
class Exemptions:
    """What a setting exempts, by kind.

    Attributes:
        paths: Tests of the path.
        networks: Networks that the client may be in.
        functions: Functions to ask.
    """

    paths: tuple[PlainTest, ...] = ()
    networks: tuple[Network, ...] = ()
    functions: tuple[Callback[bool], ...] = ()

    def path_test(self) -> PlainTest | None:
        """Return a test for one of the paths; None where there are none."""
        paths = self.paths
        return (lambda scope: any(test(scope) for test in paths)) if paths else None

    def plain_test(self) -> PlainTest | None:
        """Return a test for the networks and the plain functions; None where there are none."""
        tests = [function.plain for function in self.functions if not function.waits]
        if self.networks:
            tests.insert(0, _inside(self.networks))
        if len(tests) > 1:
            return lambda scope: any(test(scope) for test in tests)
        return tests[0] if tests else None

    @property
    def awaited(self) -> tuple[Callback[bool], ...]:
        """The functions that must be awaited."""
        return tuple(function for function in self.functions if function.waits)


def check_exempt(field: str, exempt: object) -> Exempt | None:
    """Return the setting as a tuple; refuse what cannot be one.

    Raises:
        ConfigurationError: It is no sequence, or an entry is none of the three.
    """
    if exempt is None:
        return None
    if not isinstance(exempt, list | tuple):
        raise ConfigurationError(field, exempt, _ALLOWED)
    parse_exempt(field, exempt)
    return tuple(exempt)


def parse_exempt(field: str, exempt: Exempt | None) -> Exemptions:
    """Sort the entries of a setting by kind.

    Raises:
        ConfigurationError: An entry is none of the three.
    """
    paths: list[PlainTest] = []
    networks: list[Network] = []
    functions: list[Callback[bool]] = []
    for entry in exempt or ():
        if isinstance(entry, str) and entry.startswith("/"):
            paths.append(compile_exact_path(field, entry))
        elif isinstance(entry, str):
            networks.append(parse_network(field, entry, _ALLOWED))
        else:
            check_function(field, entry, _ALLOWED, may_wait=True)
            functions.append(Callback("exempt function", entry, _yes_or_no))
    return Exemptions(tuple(paths), tuple(networks), tuple(functions))


def _yes_or_no(asked: str, answer: object) -> bool:
    # A coroutine that nobody awaits is true as well: it must not exempt the whole world.
    if not isinstance(answer, bool):
        raise wrong_answer(asked, answer, "True or False")
    return answer


def _inside(networks: Sequence[Network]) -> PlainTest:
    known = knowing(networks)

    def is_inside(scope: Scope) -> bool:
        client = scope.get("client")
        found = known(client[0]) if client and client[0] else None
        return found is not None and found.is_trusted

    return is_inside
