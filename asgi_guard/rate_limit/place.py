"""A place in the code that is rate limited: who is charged there, and how from any thread."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn
from weakref import WeakSet

from asgi_guard.current import CURRENT, Handling
from asgi_guard.errors import GuardError, StoreUnavailable
from asgi_guard.escaped import Refused, is_answerable
from asgi_guard.exchange import Exchange
from asgi_guard.rate_limit.answer import quota_error
from asgi_guard.rate_limit.fields import Field, joined
from asgi_guard.rate_limit.guard import RateLimit
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.rules.running import RuleCounts
from asgi_guard.refusal import Refusal

_QUOTA_EXCEEDED = 429
_MOST = 15  # refusals of a request that are remembered, for code that tries again and again

PLACES: "WeakSet[Place]" = WeakSet()
"""All of this process: functions are limited in the code, not in the configuration of a guard."""


class Place:
    """Rules at work in one place of the code.

    Args:
        name: What errors call the place.
        settings: The rules, and how they count.
        aclose: Closes what is open when the app shuts down.
    """

    def __init__(
        self, name: str, settings: RateLimit, aclose: Callable[[], Awaitable[None]]
    ) -> None:
        self._name = name
        self._layer = RateLimitLayer(settings)
        self._aclose = aclose
        PLACES.add(self)
        CURRENT.is_wanted = True
        CURRENT.has_open |= self._layer.has_open

    def snapshot(self) -> list[RuleCounts]:
        """Return the counts of every rule."""
        return self._layer.snapshot()

    async def charge(self) -> None:
        """Charge the request that is being handled.

        Raises:
            QuotaExceeded: It is over its quota.
            StoreUnavailable: Nobody can tell, and the rule refuses then.
            RuntimeError: No request is known here.
        """
        handling = self._handling()
        if handling.is_in_this_thread:
            await self._decide(handling)
        else:
            await handling.await_there(self._decide(handling))

    def charge_here(self) -> None:
        """Charge it from a function that cannot wait in the event loop; see `charge`.

        In a thread it blocks that thread. In the thread of the loop itself only counters in this
        process can be asked.
        """
        handling = self._handling()
        if not handling.is_in_this_thread:
            handling.wait_there(self._decide(handling))
            return
        if self._layer.has_open:
            self._refuse_to_block()
        deciding = self._decide(handling)
        try:
            deciding.send(None)
        except StopIteration:
            return
        finally:
            deciding.close()
        self._refuse_to_block()

    async def aclose(self) -> None:
        """Close what is open in this event loop."""
        await self._layer.aclose()

    async def _decide(self, handling: Handling) -> None:
        if self._layer.has_open:
            CURRENT.close_later(self._aclose)
        visit = Visit(self, handling)
        is_socket = visit.scope["type"] == "websocket"
        admit = self._layer.admit_socket if is_socket else self._layer.admit
        admission = admit(visit)
        if admission is not None:
            await admission
        _tell(self, handling, visit.fields)

    def _handling(self) -> Handling:
        handling = CURRENT.handling
        if handling is None:
            raise RuntimeError(
                f"{self._name} is limited by the client of a request, and no request is known "
                "here. There has to be a guard round the app: app.add_middleware(Guard()) is "
                "enough. Tasks and asyncio.to_thread know the request they were started in; other "
                "threads, executors, job queues and scripts do not: say there who is charged, with "
                "await RateLimiter(...).hit(key)"
            )
        return handling

    def _refuse_to_block(self) -> NoReturn:
        raise RuntimeError(
            f"{self._name} runs in the thread of the event loop, and cannot wait there for its "
            "store: make it an async function, or call it in a thread"
        )


class Visit(Exchange):
    """A request as one place sees it: what is refused there is raised, not answered.

    Args:
        place: The place.
        handling: The request.
    """

    __slots__ = ("_handling", "_place")

    def __init__(self, place: Place, handling: Handling) -> None:
        whole = handling.exchange
        super().__init__(whole.scope, whole.receive, whole.send, keeps_500=False)
        self._place = place
        self._handling = handling

    def refuse(
        self, refusal: Refusal, retry_after: float | None, fields: Sequence[Field]
    ) -> NoReturn:
        """Raise the refusal; whoever is round the app answers with it."""
        whole = self._handling.exchange
        if not is_answerable(whole):
            raise _error(refusal, retry_after, " The response has begun: no client can be told.")
        _tell(self._place, self._handling, fields)
        error = _error(refusal, retry_after)
        whole.refused = (*whole.refused[-_MOST:], Refused(error, refusal, retry_after))
        whole.keeps_500 = True  # frameworks send one before they let the error out
        raise error


def _error(refusal: Refusal, retry_after: float | None, more: str = "") -> GuardError:
    if refusal.status != _QUOTA_EXCEEDED:
        return StoreUnavailable(refusal.detail + more)
    return quota_error(refusal, retry_after, more)


def _tell(place: Place, handling: Handling, fields: Sequence[Field]) -> None:
    """Add to the response what a place has to say, in place of what it said before."""
    if not fields:
        return
    notes = handling.notes
    notes.pop(place, None)
    notes[place] = fields
    latest_first = [field for each in reversed(notes.values()) for field in each]
    handling.exchange.fields = joined([*latest_first, *handling.fields])
