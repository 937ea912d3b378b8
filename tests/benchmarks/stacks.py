"""Stacks: something round an app, and what it promises to do."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from asgi_guard._asgi import ASGIApp


@dataclass(frozen=True, slots=True)
class Settings:
    """What every stack is built with.

    Attributes:
        quota: Requests of one client, in the notation that all stacks share.
        at_once: Requests inside at once.
    """

    quota: str
    at_once: int


LOOSE = Settings(quota="1000000/minute", at_once=10_000)
"""Everything is counted and nothing refused."""
TIGHT = Settings(quota="1/year", at_once=1)
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
