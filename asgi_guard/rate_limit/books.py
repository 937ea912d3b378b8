"""The books of a rate limit: where it counts, and what it has counted.

A layer ends when its guard is swapped for another; its books go to the layer that follows it.
"""

from typing import TYPE_CHECKING

from asgi_guard.rate_limit.outage import Outages, probe
from asgi_guard.rate_limit.presence import Presence
from asgi_guard.rate_limit.returns import Returns
from asgi_guard.rate_limit.rules.running import RuleTally
from asgi_guard.rate_limit.rules.warming import Warming
from asgi_guard.rate_limit.stores.memory import MemoryStore
from asgi_guard.rate_limit.stores.opening import MEMORY_STORE, close_store, open_store
from asgi_guard.rate_limit.stores.store import GivesBack, Store

if TYPE_CHECKING:
    from asgi_guard.rate_limit.guard import RateLimit

_MOST_TALLIES = 1000


class Books:
    """A store at work, what is known of it and on its way to it, and what rules have decided.

    Args:
        settings: The limit that begins them.
        before: The books of the limit that it follows, in another store; default None.

    Attributes:
        store: The store.
        is_local: Whether all counters are in this process.
        here: The counters in this process: all of them, or those for when the store is out.
        warming: What still has to be charged there, where the store decides.
        returns: What is on its way back to the store; None where it cannot be given back.
        outages: When the store was out.
        presence: Who is inside and may ask the store, counted where the guard may be swapped.
        is_retired: Whether no request begins any more that may ask the store.
    """

    def __init__(self, settings: "RateLimit", before: "Books | None" = None) -> None:
        self._target = settings.store
        self._owns_store = isinstance(self._target, str)
        here = None if before is None else before._here_to_lend()
        self.store: Store = (
            here
            if here is not None and self._owns_store and self._target == MEMORY_STORE
            else open_store("RateLimit.store", self._target)
        )
        self.is_local: bool = type(self.store) is MemoryStore  # a subclass may decide otherwise
        self.here: MemoryStore = (
            self.store if type(self.store) is MemoryStore else here or MemoryStore()
        )
        self.warming: Warming = Warming()
        self.returns: Returns | None = (
            Returns(self.store) if isinstance(self.store, GivesBack) else None
        )
        counting = (settings.rules + settings.messages)[0].counting  # which the store can
        self.outages: Outages = Outages(lambda: probe(self.store, counting))
        self._tallies: dict[str, RuleTally] = {} if before is None else before._tallies
        self.presence: Presence = Presence(self.aclose)
        self.is_retired: bool = False

    def under(self, settings: "RateLimit") -> "Books":
        """Return the books for a limit that follows: these, where it counts in the same store."""
        store, target = settings.store, self._target
        same = store == target if isinstance(store, str) else store is target
        return self if same and not self.is_retired else Books(settings, self)

    def tally(self, rule: str) -> RuleTally:
        """Return what the rule of this name has decided, in whichever limit."""
        tally = self._tallies.pop(rule, None) or RuleTally()
        self._tallies[rule] = tally  # the last of all, so that the oldest are dropped
        if len(self._tallies) > _MOST_TALLIES:
            del self._tallies[next(iter(self._tallies))]
        return tally

    def retire(self) -> None:
        """Close what is open after the last request inside; from any thread."""
        if not self.is_local:  # which has nothing open, and may go on counting
            self.is_retired = True
            self.presence.retire()

    async def aclose(self) -> None:
        """Close the store, if it is the limit's own; another gets its leases back."""
        await self.outages.aclose()
        if self.returns is not None:
            await self.returns.aclose()
        await close_store(self.store, owned=self._owns_store)

    def _here_to_lend(self) -> MemoryStore | None:
        """Return the counters in this process, unless they are the user's."""
        self.warming.catch_up()
        return self.here if self._owns_store or not self.is_local else None
