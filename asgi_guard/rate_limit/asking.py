"""Asking a store the straight way, and what is done where that leads nowhere."""

from asyncio import get_running_loop
from collections.abc import Callable, Sequence

from asgi_guard._clock import Clock
from asgi_guard.errors import StoreUnavailable
from asgi_guard.exchange import Exchange
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.outage import Outages
from asgi_guard.rate_limit.rules.due import Due
from asgi_guard.rate_limit.rules.running import RunningRule
from asgi_guard.rate_limit.rules.straight import Straight, decided
from asgi_guard.shell import Admission


class Asking:
    """Asks the store of one layer.

    Args:
        outages: What is known of the store.
        within: Seconds for an answer.
        now: The clock of the counters in this process.
        charge: Charges rules by keys of which some are None.
        take_in: Counts decisions of which one refuses, and answers.
        do_without: Does what holds while the store gives no answer.
    """

    def __init__(
        self,
        outages: Outages,
        within: float,
        now: Clock,
        *,
        charge: Callable[[Exchange, Sequence[RunningRule], Sequence[str | None]], Admission],
        take_in: Callable[[Exchange, Sequence[RunningRule], Sequence[Decided]], Admission],
        do_without: Callable[[Exchange, Due], Admission],
    ) -> None:
        self._outages = outages
        self._within = within
        self._now = now
        self._charge = charge
        self._take_in = take_in
        self._do_without = do_without

    def admit(self, exchange: Exchange, way: Straight) -> Admission:
        """Charge a request, and admit or refuse it; at once, where what is on lease decides."""
        keys = way.keys(exchange.scope)
        if None in keys:
            return self._charge(exchange, way.rules, keys)
        if way.use is not None:
            numbers = way.use(keys, self._within, get_running_loop())
            if numbers and way.admit(exchange, keys, numbers, self._now()):
                return None
        return self.ask(exchange, way, keys)

    async def ask(self, exchange: Exchange, way: Straight, keys: tuple[str, ...]) -> bool:
        """Ask the store whether to admit a request; answer one that is refused."""
        numbers: Sequence[int] = ()
        loop = get_running_loop()
        outage = self._outages.of(loop)
        if not outage.is_on:
            try:
                numbers = await way.ask(keys, self._within, loop)
            except StoreUnavailable as error:
                outage.begin(error)
        if not numbers:
            answer = self._do_without(exchange, Due(way.rules, way.charges(keys)))
        elif way.admit(exchange, keys, numbers, self._now()):
            return True
        else:
            answer = self._take_in(exchange, way.rules, decided(numbers))
        return True if answer is None else await answer
