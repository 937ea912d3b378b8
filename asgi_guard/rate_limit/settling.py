"""Settling: what was charged ahead is given back where the outcome does not count."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeAlias

from asgi_guard._clock import Clock
from asgi_guard.errors import shown
from asgi_guard.exchange import Exchange
from asgi_guard.rate_limit.returns import Returns
from asgi_guard.rate_limit.rules.running import RunningRule
from asgi_guard.rate_limit.stores.store import Charge

_LOG = logging.getLogger("asgi_guard")
_ACCEPTED = 101
_CLOSED = 403
_CLIENT_LEFT = 499
_SERVER_ERROR = 500

Owed: TypeAlias = Sequence[tuple[RunningRule, Charge]]
"""Charges that an outcome may undo, with their rules."""


class Settling:
    """Waits for the outcomes of requests whose rules have a `count_when`.

    Args:
        returns: Gives back to the store; None where it is in this process.
        now: The clock.
        within: Seconds in which something should be given back.
    """

    def __init__(self, returns: Returns | None, now: Clock, within: float) -> None:
        self._returns = returns
        self._now = now
        self._within = within
        self._warned: set[str] = set()

    def begin(self, exchange: Exchange, owed: Owed, began: float, *, is_here: bool) -> None:
        """Settle charges once the response is out.

        Args:
            exchange: The request.
            owed: The charges.
            began: When they were asked for: an answer takes its time, and a window may end in it.
            is_here: Whether they were made in this process.
        """

        def settle(exchange: Exchange) -> None:
            self._settle(outcome(exchange), owed, began, is_here=is_here)

        exchange.after_last += (settle,)

    def _settle(self, status: int, owed: Owed, began: float, *, is_here: bool) -> None:
        now = self._now()
        back: list[Charge] = []
        for rule, charge in owed:
            _, key, cost = charge
            if not self._counts(rule, status):
                back.append(charge)
            elif not is_here and rule.warmed is not None:
                rule.warmed.hit(key, cost, now)  # for when the store will be out
        if self._returns is not None and not is_here:
            self._returns.begin(back, now - began, self._within)
        else:
            for counter, key, cost in back:
                counter.give_back(key, cost, now - began, now)

    def _counts(self, rule: RunningRule, status: int) -> bool:
        count_when: Callable[[int], object] | None = rule.count_when
        try:
            return count_when is None or bool(count_when(status))
        except Exception as error:  # noqa: BLE001 - the response is out, nobody could be told
            if rule.name not in self._warned:
                self._warned.add(rule.name)
                _LOG.warning(
                    "rate limit: count_when of rule %r fails, what it is asked for counts: %s",
                    rule.name,
                    shown(error),
                )
            return True


def outcome(exchange: Exchange) -> int:
    """Return the status that a request has come to; of a websocket, 101 if it was accepted."""
    if exchange.accepted:
        return _ACCEPTED
    if exchange.closed:
        return exchange.status or _CLOSED
    return exchange.status or (_CLIENT_LEFT if exchange.cancelled else _SERVER_ERROR)
