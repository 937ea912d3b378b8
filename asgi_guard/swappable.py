"""A guard that can be swapped for another while the app runs."""

import logging
from dataclasses import dataclass, field
from threading import Lock
from weakref import WeakSet

from asgi_guard._asgi import ASGIApp, Receive, Scope, Send
from asgi_guard.breaker.registration import begin_work
from asgi_guard.errors import ConfigurationError
from asgi_guard.guard import Guard, stack_of
from asgi_guard.rate_limit.books import Books  # noqa: TC001
from asgi_guard.rate_limit.guard import RateLimit
from asgi_guard.shell import Shell
from asgi_guard.stack import Stack

_LOG = logging.getLogger("asgi_guard")


@dataclass(frozen=True, slots=True, eq=False, repr=False, weakref_slot=True)
class Swappable:
    """A guard that can be swapped for another while the app runs, without a restart.

    Requests that begin from then on meet the new guard, round every app that this one was called
    with. Those in flight, and websockets that are open, finish with the guard that they began with.

    What both guards have goes on: a rule that has kept its name, algorithm and period counts on
    where it counted, if the store is the same, and its metrics do; a cap that has kept its name
    has the same permits, whatever its limit; checks that are equal keep their results.

    A swap is for one process: with several workers, swap in each. Each is logged, as a warning.

    Args:
        guard: The guard to begin with.

    Raises:
        ConfigurationError: It is no `Guard`.
    """

    guard: Guard
    _now: "_Now" = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what is no guard."""
        _check(self.guard)
        object.__setattr__(self, "_now", _Now(self.guard))

    def __call__(self, app: ASGIApp) -> "SwappableShell":
        """Wrap an ASGI app in the guard of the moment, and in each that follows it."""
        with self._now.lock:
            shell = SwappableShell(self, app, self._now.guard)
            self._now.shells.add(shell)
        begin_work(shell)
        return shell

    def __repr__(self) -> str:
        """Show the guard of the moment."""
        return f"Swappable({self.current!r})"

    @property
    def current(self) -> Guard:
        """The guard that requests meet which begin now."""
        return self._now.guard

    def swap(self, guard: Guard) -> None:
        """Put another guard in the place of the one there is, for requests that begin from now on.

        It waits for nothing, and may be called from any thread. Where it raises, nothing changes.

        Args:
            guard: The guard to go on with.

        Raises:
            ConfigurationError: It is no `Guard`, or cannot be put round an app.
        """
        _check(guard)
        now = self._now
        with now.lock:
            before = now.guard
            stacks = [(shell, shell.following(guard)) for shell in list(now.shells)]
            for shell, stack in stacks:
                shell.put(stack)
            now.guard = guard
        known = _rules(before.rate_limit)
        anew = [
            repr(name) for name, what in _rules(guard.rate_limit).items() if known.get(name) != what
        ]
        _LOG.warning(
            "guard: swapped for another; rules that begin to count: %s", ", ".join(anew) or "none"
        )


class _Now:
    """What changes about a `Swappable`."""

    def __init__(self, guard: Guard) -> None:
        self.lock = Lock()  # for swaps; no request takes it
        self.guard = guard
        self.shells: WeakSet[SwappableShell] = WeakSet()


class SwappableShell:
    """An ASGI app in a guard that can be swapped.

    Args:
        swappable: What it was wrapped by; its mark is on requests, whichever guard they meet.
        app: The app inside.
        guard: The guard to begin with.
    """

    def __init__(self, swappable: Swappable, app: ASGIApp, guard: Guard) -> None:
        self._swappable = swappable
        self._app = app
        self._left: WeakSet[Books] = WeakSet()  # which those in flight keep alive
        self._stack = stack_of(guard)
        self._shell = self._wrap(self._stack)
        self._stack.begin()

    # A coroutine function: servers take an app that is none for ASGI 2.
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle it in the stack of the moment."""
        await self._shell(scope, receive, send)

    def following(self, guard: Guard) -> Stack:
        """Return the stack of a guard that is to follow the one there is."""
        return stack_of(guard, self._stack)

    def put(self, stack: Stack) -> None:
        """Put a stack in the place of the one there is; from any thread."""
        if self._stack.books is not None:
            self._left.add(self._stack.books)
        self._stack = stack
        self._shell = self._wrap(stack)
        stack.begin()

    async def aclose(self) -> None:
        """Close what is open in this event loop, also what requests in flight had been left."""
        with self._swappable._now.lock:  # so that no other thread swaps meanwhile
            open_books = {*self._left, self._stack.books}
        for books in open_books:
            if books is not None:
                await books.presence.aclose()

    def _wrap(self, stack: Stack) -> Shell:
        layers = stack.layers if stack.presence is None else [stack.presence, *stack.layers]
        return Shell(self._swappable, self._app, layers, [self.aclose])


def _check(guard: object) -> None:
    if not isinstance(guard, Guard):
        raise ConfigurationError("Swappable.guard", guard, "a Guard(...)")


def _rules(limit: RateLimit | None) -> dict[str, tuple[object, ...]]:
    """Return the rules of a limit by name, and what else their counters belong to."""
    if limit is None:
        return {}
    return {
        rule.label: (
            limit.store,
            rule.counting,
            None if callable(rule.quota) else rule.whole_quota.period,
        )
        for rule in limit.rules + limit.messages
    }
