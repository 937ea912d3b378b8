"""Shells: the ASGI apps that guards return, and the layers that they are made of."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar, TypeAlias

from asgi_guard._asgi import ASGIApp, Message, Receive, Scope, Send
from asgi_guard.current import CURRENT
from asgi_guard.errors import ConfigurationError
from asgi_guard.escaped import answer_refused
from asgi_guard.exchange import Exchange

Admission: TypeAlias = Awaitable[bool] | None
"""None admits a request at once; what must be waited for says whether it was, or else answered."""


class Layer:
    """What one guard does to the requests of one app: its part of a stack, with its state.

    A layer has nothing to clean up by itself: what it takes for a request it notes on the exchange,
    in the same step, and the shell gives it back in the one `finally` of the stack. Each method
    that a layer leaves as it is costs nothing.
    """

    keeps_500: ClassVar[bool] = False
    """Whether a bare 500 is kept back for a moment, since `recover` may find a better answer."""

    paths: AbstractSet[str] = frozenset()
    """The paths, in all spellings, of the only requests that it has something to do with; where it
    names none, it sees them all. What comes below a `root_path` it sees in any case."""

    has_open: bool = False
    """Whether there is something to close when the app has shut down."""

    def admit(self, exchange: Exchange) -> Admission:
        """Admit an HTTP request, or answer it."""

    def admit_socket(self, exchange: Exchange) -> Admission:
        """Admit the handshake of a websocket, or answer it."""

    async def aclose(self) -> None:
        """Close what is open, when the app has shut down; in its event loop."""
        raise NotImplementedError

    async def recover(self, exchange: Exchange, error: Exception) -> bool:
        """Answer for an error that the app let out; return whether that was done."""
        raise NotImplementedError


class Shell:
    """An ASGI app with layers round it.

    It passes on what is no request, and what this guard is at work on already: a guard that is met
    twice (installed twice, or round a mounted app as well) acts once.

    All layers share one coroutine: a call for each of them, and then the app.

    Args:
        guard: The guard that made it.
        app: The app inside.
        layers: The layers, outermost first.
        closes: What to call when the app has shut down; default None: what the layers have to
            close.
    """

    def __init__(
        self,
        guard: object,
        app: ASGIApp,
        layers: Sequence[Layer],
        closes: Sequence[Callable[[], Awaitable[None]]] | None = None,
    ) -> None:
        if not callable(app):
            raise ConfigurationError(f"{type(guard).__name__}(app)", app, "an ASGI app")
        self._guard = guard  # kept alive, so that no other object gets its mark
        self._mark = f"asgi_guard.{type(guard).__name__}.{id(guard)}"
        self._app = app
        self._paths = frozenset().union(*(layer.paths for layer in layers))
        self._whole = _admits(layers)
        self._admits = _admits([layer for layer in layers if not layer.paths])
        self._recovers = tuple(_hooks(layers[::-1], "recover"))
        if closes is None:
            closes = [layer.aclose for layer in layers if layer.has_open]
        self._closes = tuple(closes)
        self._keeps_500 = any(layer.keeps_500 for layer in layers)

    # A coroutine function: servers take an app that is none for ASGI 2.
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and pass on everything else."""
        admits = self._admits.get(scope["type"])
        mark = self._mark
        if admits is None or mark in scope:
            return await self._pass_on(scope, receive, send)
        if self._paths and (scope["path"] in self._paths or scope.get("root_path")):
            admits = self._whole[scope["type"]]
        scope[mark] = True
        exchange = Exchange(scope, receive, send, self._keeps_500)
        try:
            for admit in admits:
                admission = admit(exchange)
                if admission is not None and not await admission:
                    return None
            if CURRENT.is_wanted:
                CURRENT.enter(exchange)
            app = self._app
            await app(scope, exchange.receive, exchange.send)
            if exchange.kept is not None and not await answer_refused(exchange, None):
                await exchange.kept.release()
        except BaseException as error:
            exchange.cancelled = isinstance(error, CancelledError)
            if await self._recover(exchange, error):
                return None
            raise
        finally:
            calls, exchange.after_last = exchange.after_last, ()
            for call in calls + exchange.at_end:
                call(exchange)
            scope.pop(mark, None)

    async def _recover(self, exchange: Exchange, error: BaseException) -> bool:
        """Answer for an error, if a layer can; otherwise send what was kept back."""
        if isinstance(error, Exception):
            if await answer_refused(exchange, error):
                return True
            for recover in self._recovers:
                if await recover(exchange, error):
                    return True
            if exchange.kept is not None:
                await exchange.kept.release()
        elif exchange.kept is not None:  # nobody listens any more
            exchange.kept.discard()
        return False

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave to the app what is not for us; close what the layers have when it shuts down."""

        async def close_first(message: Message) -> None:
            if message["type"].startswith("lifespan.shutdown."):
                for aclose in (*self._closes, CURRENT.aclose):
                    await aclose()
            await send(message)

        closes = scope["type"] == "lifespan" and (self._closes or CURRENT.has_open)
        await self._app(scope, receive, close_first if closes else send)


def _admits(layers: Sequence[Layer]) -> dict[str, tuple[Callable[[Exchange], Admission], ...]]:
    """Return who admits, by the type of a scope."""
    hooks = {"http": "admit", "websocket": "admit_socket"}
    return {kind: tuple(_hooks(layers, name)) for kind, name in hooks.items()}


def _hooks(layers: Sequence[Layer], name: str) -> Iterator[Any]:
    """Yield this method of every layer that has one of its own."""
    for layer in layers:
        if getattr(type(layer), name) is not getattr(Layer, name):
            yield getattr(layer, name)
