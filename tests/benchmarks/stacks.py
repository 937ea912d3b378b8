"""Stacks: something round an app, and what it promises to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from asgi_guard._asgi import ASGIApp


@dataclass(frozen=True, slots=True)
class Settings:
    """What every stack is built with.

    Attributes:
        quotas: Requests of one client, in the notation that all stacks share, the shortest period
            first; where a stack has one limit, it is the first of them.
        at_once: Requests inside at once.
    """

    quotas: tuple[str, ...]
    at_once: int

    @property
    def quota(self) -> str:
        """The one limit."""
        return self.quotas[0]


LOOSE = Settings(quotas=("1000000/minute", "10000000/hour", "100000000/day"), at_once=10_000)
"""Everything is counted and nothing refused."""
TIGHT = Settings(quotas=("1/day", "2/month", "3/year"), at_once=1)
"""A client's second request is refused, and there is never more than one inside."""

Build = Callable[[Settings], ASGIApp]
Promise = Callable[[Build], Awaitable[None]]
"""Raises when apps that are built this way do not keep it."""


@dataclass(frozen=True, slots=True)
class Stack:
    """One of the things compared.

    Attributes:
        name: What the tables call it.
        build: Makes an app with the stack round it, and with state of its own.
        promises: What it does for its cost.
    """

    name: str
    build: Build
    promises: tuple[Promise, ...]
