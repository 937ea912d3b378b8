"""Shells: the ASGI apps that guards return.

Within a stack, guards do not call each other through ASGI: they pass the request inwards with the
one `Response` that all of them share, which saves each of them a wrapper round `send`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from asgi_guard._asgi import REQUEST_TYPES, ASGIApp, Receive, Scope, Send
from asgi_guard.errors import ConfigurationError
from asgi_guard.response import Response

Handle: TypeAlias = Callable[[Scope, Receive, Response], Awaitable[None]]
"""What handles a request further in: the next guard, or in the end the app."""


def end_of_stack(app: ASGIApp) -> Handle:
    """Return the app, as what stands behind the innermost guard."""

    def handle(scope: Scope, receive: Receive, response: Response) -> Awaitable[None]:
        return app(scope, receive, response.send)

    return handle


class Shell(ABC):
    """An ASGI app with a guard round it.

    It passes on what is no request, and what this guard is at work on already: a guard that is met
    twice (installed twice, or round a mounted app as well) acts once.

    Args:
        guard: The guard that made it.
        app: The app inside.
        inner: What handles a request after this guard; default: the app.
    """

    def __init__(self, guard: object, app: ASGIApp, inner: Handle | None = None) -> None:
        if not callable(app):
            raise ConfigurationError(f"{type(guard).__name__}(app)", app, "an ASGI app")
        self._guard = guard  # kept alive, so that no other object gets its mark
        self._mark = f"asgi_guard.{type(guard).__name__}.{id(guard)}"
        self._app = app
        self._inner: Handle = end_of_stack(app) if inner is None else inner

    @abstractmethod
    def handle(self, scope: Scope, receive: Receive, response: Response) -> Awaitable[None]:
        """Handle a request: of type http or websocket, and not inside this guard already."""

    # A coroutine function: servers take an app that is none for ASGI 2.
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and pass on everything else."""
        if scope["type"] not in REQUEST_TYPES or self._mark in scope:
            return await self._app(scope, receive, send)
        scope[self._mark] = True
        try:
            await self.handle(scope, receive, Response(send))
        finally:
            scope.pop(self._mark, None)
