"""The rate limit at work round one app."""

from asyncio import get_running_loop
from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

from asgi_guard._asgi import is_preflight
from asgi_guard.errors import StoreUnavailable
from asgi_guard.exchange import Exchange
from asgi_guard.rate_limit.asking import Asking
from asgi_guard.rate_limit.books import Books
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.fields import Field, draft_fields, legacy_fields
from asgi_guard.rate_limit.messages import MessageLimit, message_rules
from asgi_guard.rate_limit.outage import Outage
from asgi_guard.rate_limit.refusing import Refusing
from asgi_guard.rate_limit.rules.due import Answers, Due, all_admit, taken
from asgi_guard.rate_limit.rules.exempt import parse_exempt
from asgi_guard.rate_limit.rules.plan import Plan, choose_plans
from asgi_guard.rate_limit.rules.running import (
    NO_STORE,
    RuleCounts,
    RunningRule,
    refused_by,
)
from asgi_guard.rate_limit.rules.setup import Setup
from asgi_guard.rate_limit.rules.straight import straight
from asgi_guard.rate_limit.rules.together import Together
from asgi_guard.rate_limit.settling import Settling
from asgi_guard.rate_limit.stores.memory import hit_all
from asgi_guard.rate_limit.stores.store import Charge
from asgi_guard.rate_limit.switch import Switch
from asgi_guard.shell import Admission, Layer

if TYPE_CHECKING:
    from asgi_guard.rate_limit.guard import RateLimit

_SOON = 1.0  # seconds; how long a store may be out is not known


class RateLimitLayer(Layer):
    """A `RateLimit` round one app.

    Args:
        settings: The limit.
        books: Where it counts, and goes on counting; default None: in books of its own.

    Attributes:
        settings: The limit.
        books: Where it counts.
    """

    def __init__(self, settings: "RateLimit", books: Books | None = None) -> None:
        self.settings: RateLimit = settings
        self.books: Books = Books(settings) if books is None else books
        self._store = self.books.store
        self._is_local = self.books.is_local
        self._now = self.books.here.clock
        self._timeout = settings.store_timeout
        self._returns = self.books.returns
        self._outages = self.books.outages
        self._switch = settings.switch or Switch()
        # Whether all rules are charged together, or none, and that is all.
        self._is_one_step = not settings.shadow and all(
            rule.enforced == 1 and rule.count_when is None for rule in settings.rules
        )
        self._asking = Asking(
            self._outages,
            self._timeout,
            self._now,
            charge=self._charge_plain,
            take_in=self._take_in,
            do_without=self._without_store,
        )
        self._settling = Settling(self._returns, self._now, self._timeout)
        self.has_open: bool = not self._is_local
        self._draft = settings.fields in {"draft-11", "both"}
        self._legacy = settings.fields in {"legacy", "both"}
        self._refuse = Refusing(settings, counts_here=self._is_local).refuse
        everywhere = parse_exempt("RateLimit.exempt", settings.exempt)
        self._exempt = everywhere.functions
        setup = Setup(settings, self.books)
        rules = [setup.put_to_work(rule, everywhere) for rule in settings.rules]
        self._rules = [charging for charging, _, _ in rules]
        self._choice = choose_plans(
            rules,
            is_local=self._is_local,
            asks_first=bool(everywhere.functions),
            straight=lambda plain: straight(
                plain, self._store, settings.fields, self.books.warming, self._timeout
            ),
        )
        self._fixed = self._choice.fixed
        self._messages: MessageLimit | None = None
        if settings.messages:
            # One store, which is out for all rules or for none.
            inner = RateLimitLayer(message_rules(settings, self._store), self.books)
            self._messages = MessageLimit(inner, settings.on_excess)

    def snapshot(self) -> list[RuleCounts]:
        """Return the counts of every rule."""
        counts = [rule.tally.counts(rule.name) for rule in self._rules]
        return counts if self._messages is None else counts + self._messages.layer.snapshot()

    def outages(self) -> list[Outage]:
        """Return what is known of the store, an outage for each event loop that has asked it."""
        return list(self._outages)

    async def aclose(self) -> None:
        """Close the store, if it is this guard's own; another gets its leases back."""
        await self.books.aclose()

    def admit(self, exchange: Exchange) -> Admission:
        """Charge the request, and admit or refuse it."""
        scope = exchange.scope
        if self._switch.passes or (scope["method"] == "OPTIONS" and is_preflight(scope)):
            return None
        plan = self._fixed or self._choice.of(scope)
        rule = plan.only
        if rule is None:
            return self._admit_by_several(exchange, plan)
        key_of, hit, now = rule.key, plan.hit, self._now
        key = key_of(scope)  # from here on, what one rule needs: most requests meet one
        if key is None:
            rule.tally.exempt += 1
            return None
        decided = hit(key, rule.cost, now())
        if decided is None and plan.straight is not None:
            return self._asking.ask(exchange, plan.straight, (key,))
        admitted, left, reset, wait = decided
        fields: tuple[Field, ...] = ()
        if self._draft:
            fields = (rule.policy, (b"ratelimit", rule.state % (left, ceil(reset))))
        if self._legacy:
            fields += legacy_fields([rule], [(admitted, left, reset, wait)])
        if admitted:
            rule.tally.allowed += 1
            exchange.fields += fields
            return None
        rule.tally.denied += 1
        return self._refuse(exchange, rule.refusal, wait, fields)

    def admit_socket(self, exchange: Exchange) -> Admission:
        """Charge a handshake as one request, and its messages where there are rules for them."""
        admission: Admission = None
        if not self._switch.passes:
            admission = self._admit_by_all(exchange, self._fixed or self._choice.of(exchange.scope))
        if self._messages is None:
            return admission
        if admission is not None:
            return self._messages.watch_if(admission, exchange)
        self._messages.watch(exchange)
        return None

    def _admit_by_several(self, exchange: Exchange, plan: Plan) -> Admission:
        if plan.together is not None:
            return self._admit_together(exchange, plan.together)
        return self._admit_by_all(exchange, plan)

    def _admit_together(self, exchange: Exchange, together: Together) -> Admission:
        key = together.key(exchange.scope)
        if key is None:
            for rule in together.rules:
                rule.tally.exempt += 1
            return None
        admitted, decisions = together.hit(key, self._now())
        fields: tuple[Field, ...] = ()
        if self._draft:
            fields = together.fields.draft(decisions)
        if self._legacy:
            fields += legacy_fields(together.rules, decisions)
        if admitted:
            exchange.fields += fields
            return None
        return self._refuse(exchange, *refused_by(together.rules, decisions), fields)

    def _admit_by_all(self, exchange: Exchange, plan: Plan) -> Admission:
        if plan.straight is not None:
            return self._asking.admit(exchange, plan.straight)
        for spared in plan.spared:
            spared.tally.exempt += 1
        if plan.plain is None:
            return self._ask_users(exchange, plan)
        keys = [rule.key(exchange.scope) for rule in plan.plain]
        return self._charge_plain(exchange, plan.plain, keys)

    def _charge_plain(
        self, exchange: Exchange, rules: Sequence[RunningRule], keys: Sequence[str | None]
    ) -> Admission:
        applied: list[RunningRule] = []
        charges: list[Charge] = []
        for rule, key in zip(rules, keys, strict=True):
            if key is None:
                rule.tally.exempt += 1
            else:
                applied.append(rule)
                charges.append((rule.counter, key, rule.cost))
        return self._charge(exchange, applied, charges)

    async def _ask_users(self, exchange: Exchange, plan: Plan) -> bool:
        """Admit or refuse by rules that have functions to ask; all are asked before any charge."""
        for function in self._exempt:
            if await function.ask(exchange.scope):
                for rule in plan.rules:
                    rule.tally.exempt += 1
                return True
        applied: list[RunningRule] = []
        charges: list[Charge] = []
        for rule in plan.rules:
            hit = await rule.hit(exchange.scope)
            if hit is not None:
                running, key, cost = hit
                applied.append(running)
                charges.append((running.counter, key, cost))
        answer = self._charge(exchange, applied, charges)
        return True if answer is None else await answer

    def _charge(
        self, exchange: Exchange, applied: Sequence[RunningRule], charges: Sequence[Charge]
    ) -> Admission:
        if not charges:
            return None
        if self._is_local and self._is_one_step:
            return self._take_in(exchange, applied, hit_all(charges, self._now()))
        due = Due(applied, charges)
        if self._is_local:
            return self._take_in_all(exchange, due, self._now())
        return self._ask_store(exchange, due)

    def _take_in_all(
        self, exchange: Exchange, due: Due, began: float, answers: Answers | None = None
    ) -> Admission:
        """Take in answers of the store, which was asked at that time; or decide in this process."""
        is_here = answers is None
        decisions, of_shadows = due.hit(began) if answers is None else answers
        if all_admit(decisions):
            due.count_shadows(of_shadows)
            owed = due.owed(of_shadows)
            if owed:
                self._settling.begin(exchange, owed, began, is_here=is_here)
        else:
            due.count_bans(of_shadows)
        return self._take_in(exchange, due.rules, decisions)

    def _take_in(
        self, exchange: Exchange, applied: Sequence[RunningRule], decisions: Sequence[Decided]
    ) -> Admission:
        """Count the decisions, and add their fields."""
        fields: tuple[Field, ...] = ()
        if self._draft and applied:
            fields = draft_fields(applied, decisions)
        if self._legacy and applied:
            fields += legacy_fields(applied, decisions)
        for decision in decisions:
            if not decision[0]:
                refusal, wait = refused_by(applied, decisions)
                return self._refuse(exchange, refusal, wait, fields)
        for rule in applied:
            rule.tally.allowed += 1
        exchange.fields += fields
        return None

    async def _ask_store(self, exchange: Exchange, due: Due) -> bool:
        outage = self._outages.of(get_running_loop())
        began = self._now()
        answers: Answers | None = None
        if not outage.is_on:
            try:
                answers = await due.ask(
                    self._store, self._timeout, at_once=self._returns is not None
                )
            except StoreUnavailable as error:
                outage.begin(error)
        if answers is None:
            answer = self._without_store(exchange, due)
        elif all_admit(answers[0]):
            due.warm(self._now())
            answer = self._take_in_all(exchange, due, began, answers)
        else:
            if self._returns is not None:
                self._returns.begin(
                    taken(due.shadow_charges, answers[1]), self._now() - began, self._timeout
                )
            answer = self._take_in_all(exchange, due, began, answers)
        return True if answer is None else await answer

    def _without_store(self, exchange: Exchange, due: Due) -> Admission:
        """Do for each rule what holds while the store gives no answer."""
        for rule in due.rules:
            if rule.mode == "refuse":
                rule.tally.denied += 1
                return NO_STORE.refuse(exchange, _SOON)
        self.books.warming.catch_up()
        return self._take_in_all(exchange, due.spares(), self._now())
