"""The rate limit at work round one app."""

import asyncio
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from asgi_guard._asgi import is_preflight
from asgi_guard.errors import StoreUnavailable
from asgi_guard.exchange import Exchange
from asgi_guard.matching import Choice, compile_matcher
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.fields import Field, render_fields
from asgi_guard.rate_limit.memory import MemoryStore, hit_all
from asgi_guard.rate_limit.outage import Outage
from asgi_guard.rate_limit.quota import Quota
from asgi_guard.rate_limit.running import NO_STORE, RuleCounts, RunningRule, refused_by
from asgi_guard.rate_limit.store import Charge
from asgi_guard.rate_limit.stores import close_store, open_store
from asgi_guard.shell import Admission, Layer

if TYPE_CHECKING:
    from asgi_guard.rate_limit.guard import RateLimit

_PROBE = Quota(1_000_000, 1.0)
_SOON = 1.0  # seconds; how long a store may be out is not known


class RateLimitLayer(Layer):
    """A `RateLimit` round one app."""

    def __init__(self, settings: "RateLimit") -> None:
        self._store = open_store("RateLimit.store", settings.store)
        self._owns_store = isinstance(settings.store, str)
        self._is_local = type(self._store) is MemoryStore  # a subclass may decide otherwise
        # Of the counters in this process: all of them, or those for when the store is out.
        self._here = self._store if type(self._store) is MemoryStore else MemoryStore()
        self._now = self._here.clock
        self._timeout = settings.store_timeout
        self._outages: WeakKeyDictionary[asyncio.AbstractEventLoop, Outage] = WeakKeyDictionary()
        self._rules = [
            RunningRule(rule, self._store, rule.on_store_failure or settings.on_store_failure)
            for rule in settings.rules
        ]
        self._choice = Choice(
            [
                (compile_matcher("Rule", rule.path, rule.methods), running)
                for rule, running in zip(settings.rules, self._rules, strict=True)
            ]
        )
        # The rule that decides alone, whatever is asked for.
        alone = self._is_local and len(self._choice.fixed) == 1
        self._only = self._choice.fixed[0] if alone else None
        self._shows_fields = settings.fields is not None
        if not self._is_local:
            self.has_open = True
            self._keep_spares(settings)

    def _keep_spares(self, settings: "RateLimit") -> None:
        for rule, running in zip(settings.rules, self._rules, strict=True):
            if running.mode == "local":
                running.keep_spare(rule, self._here, settings.workers)

    def snapshot(self) -> list[RuleCounts]:
        """Return the counts of every rule."""
        return [RuleCounts(rule.name, rule.allowed, rule.denied) for rule in self._rules]

    async def aclose(self) -> None:
        """Close the store, if it is this guard's own."""
        outage = self._outages.pop(asyncio.get_running_loop(), None)
        if outage is not None:
            await outage.aclose()
        if self._owns_store:
            await close_store(self._store)

    def admit(self, exchange: Exchange) -> Admission:
        """Charge the request, and admit or refuse it."""
        scope = exchange.scope
        if scope["method"] == "OPTIONS" and is_preflight(scope):
            return None
        rule = self._only
        if rule is None:
            rules = self._choice.fixed or self._choice.of(scope)
            if len(rules) != 1 or not self._is_local:
                return self._admit_by_all(exchange, rules)
            rule = rules[0]
        key = rule.key(scope)  # from here on, what one rule needs: most requests meet one
        if key is None:
            return None
        admitted, left, reset, wait = rule.hit(key, 1, self._now())
        fields: tuple[Field, ...] = ()
        if self._shows_fields:
            fields = (rule.policy, (b"ratelimit", rule.state % (left, ceil(reset))))
        if admitted:
            rule.allowed += 1
            exchange.fields += fields
            return None
        rule.denied += 1
        return rule.refusal.refuse(exchange, wait, fields)

    def admit_socket(self, exchange: Exchange) -> Admission:
        """Charge a handshake as one request."""
        return self._admit_by_all(exchange, self._choice.of(exchange.scope))

    def _admit_by_all(self, exchange: Exchange, rules: Sequence[RunningRule]) -> Admission:
        applied: list[RunningRule] = []
        charges: list[Charge] = []
        for rule in rules:
            key = rule.key(exchange.scope)
            if key is not None:
                applied.append(rule)
                charges.append((rule.counter, key, 1))
        if not charges:
            return None
        if self._is_local:
            return self._take_in(exchange, applied, hit_all(charges, self._now()))
        return self._ask_store(exchange, applied, charges)

    def _take_in(
        self, exchange: Exchange, applied: Sequence[RunningRule], decisions: Sequence[Decided]
    ) -> Admission:
        """Count the decisions, and add their fields."""
        fields = render_fields(applied, decisions) if self._shows_fields and applied else ()
        for admitted, *_ in decisions:
            if not admitted:
                refusal, wait = refused_by(applied, decisions)
                return refusal.refuse(exchange, wait, fields)
        for rule in applied:
            rule.allowed += 1
        exchange.fields += fields
        return None

    async def _ask_store(
        self, exchange: Exchange, applied: Sequence[RunningRule], charges: Sequence[Charge]
    ) -> bool:
        outage = self._outage()
        decisions: Sequence[Decided] | None = None
        if not outage.is_on:
            try:
                decisions = await self._store.hit(charges, within=self._timeout)
            except StoreUnavailable as error:
                outage.begin(error)
        if decisions is None:
            answer = self._without_store(exchange, applied, charges)
        else:
            answer = self._take_in(exchange, applied, decisions)
            if answer is None:
                now = self._now()
                for rule, (_, key, cost) in zip(applied, charges, strict=True):
                    if rule.spare is not None:
                        rule.spare.hit(key, cost, now)
        return True if answer is None else await answer

    def _without_store(
        self, exchange: Exchange, applied: Sequence[RunningRule], charges: Sequence[Charge]
    ) -> Admission:
        """Do for each rule what holds while the store gives no answer."""
        counted: list[RunningRule] = []
        spares: list[Charge] = []
        for rule, (_, key, cost) in zip(applied, charges, strict=True):
            if rule.mode == "refuse":
                rule.denied += 1
                return NO_STORE.refuse(exchange, _SOON)
            if rule.spare is None:
                rule.allowed += 1
            else:
                counted.append(rule)
                spares.append((rule.spare, key, cost))
        return self._take_in(exchange, counted, hit_all(spares, self._now()))

    def _outage(self) -> Outage:
        loop = asyncio.get_running_loop()
        outage = self._outages.get(loop)
        if outage is None:
            counter = self._store.counter("asgi_guard probe", _PROBE)

            async def probe() -> object:
                return await self._store.hit([(counter, "probe", 1)], within=self._timeout)

            outage = self._outages[loop] = Outage(probe)
        return outage
