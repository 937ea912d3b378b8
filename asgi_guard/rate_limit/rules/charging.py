"""Charging: what a rule asks about a request before anything is counted."""

from collections.abc import Callable
from typing import TypeAlias

from asgi_guard._asgi import Scope
from asgi_guard._checks import LARGEST
from asgi_guard._clock import Clock
from asgi_guard.callback import Callback, wrong_answer
from asgi_guard.errors import shown
from asgi_guard.keys import key_callback
from asgi_guard.rate_limit.rules.exempt import Exemptions, PlainTest
from asgi_guard.rate_limit.rules.rule import Rule
from asgi_guard.rate_limit.rules.running import RuleTally, RunningRule
from asgi_guard.rate_limit.rules.tiers import Tiers

Hit: TypeAlias = tuple[RunningRule, str, int]
"""The rule at work, the key to charge, and the cost."""


class Charging:
    """Whom a rule charges for a request, how much, and towards which quota.

    Args:
        rule: The rule.
        exempt: What it exempts, other than paths.
        run: Puts a rule with a quota to work.
        now: The clock.
        tally: Where its decisions are counted.

    Attributes:
        name: The rule's name.
        tally: What it has decided.
        plain: The rule at work, where it can be charged without waiting or asking: it has a key
            function of its own then, which says None for what is exempt.
    """

    __slots__ = (
        "_awaited",
        "_cost",
        "_costs",
        "_key",
        "_running",
        "_spares",
        "_tiers",
        "name",
        "plain",
        "tally",
    )

    def __init__(
        self,
        rule: Rule,
        exempt: Exemptions,
        run: Callable[[Rule, RuleTally], RunningRule],
        now: Clock,
        tally: RuleTally,
    ) -> None:
        self.name: str = rule.label
        self.tally: RuleTally = tally
        self._key = key_callback(rule.key)
        self._spares = exempt.plain_test()
        self._awaited = exempt.awaited
        self._costs = cost_callback(rule)
        self._cost = rule.cost if isinstance(rule.cost, int) else 0
        self._running: RunningRule | None = None
        self._tiers: Tiers | None = None
        if callable(rule.quota):
            self._tiers = Tiers(rule, rule.quota, lambda tier: run(tier, self.tally), now)
        else:
            self._running = run(rule, self.tally)
        asks = self._key.waits or self._awaited or self._costs is not None
        self.plain: RunningRule | None = None if asks else self._running
        if self.plain is not None:
            self.plain.key = _unless(self._spares, self._key.plain)
            self.plain.cost = self._cost

    async def hit(self, scope: Scope) -> Hit | None:
        """Return what to charge for a request; None where it is exempt, which is counted."""
        found = await self._find(scope)
        if found is None:
            self.tally.exempt += 1
        return found

    async def _find(self, scope: Scope) -> Hit | None:
        if self._spares is not None and self._spares(scope):
            return None
        for function in self._awaited:
            if await function.ask(scope):
                return None
        key = await self._key.ask(scope)
        if key is None:
            return None
        running = self._running if self._tiers is None else await self._tiers.of(scope, key)
        if running is None:
            return None
        cost = self._cost if self._costs is None else await self._costs.ask(scope)
        return running, key, cost


def cost_callback(rule: Rule) -> Callback[int] | None:
    """Return what to ask for the cost of a request; None where it is always the same."""
    return None if isinstance(rule.cost, int) else Callback("cost function", rule.cost, _units)


def _units(asked: str, answer: object) -> int:
    allowed = f"a whole number from 0 to {LARGEST}"
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise wrong_answer(asked, answer, allowed)
    if not 0 <= answer <= LARGEST:
        raise ValueError(f"{asked} returned {shown(answer)}; allowed: {allowed}")
    return answer


def _unless(
    spares: PlainTest | None, key: Callable[[Scope], str | None]
) -> Callable[[Scope], str | None]:
    if spares is None:
        return key
    return lambda scope: None if spares(scope) else key(scope)
