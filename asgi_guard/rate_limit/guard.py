"""The rate limit as a guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal

from asgi_guard._asgi import ASGIApp, is_preflight
from asgi_guard.errors import ConfigurationError
from asgi_guard.exchange import Exchange
from asgi_guard.keys import compile_key
from asgi_guard.matching import Choice, compile_matcher
from asgi_guard.rate_limit.decision import Decided
from asgi_guard.rate_limit.fields import Field, RuleFields, render_fields
from asgi_guard.rate_limit.limiter import MEMORY_STORE, open_store
from asgi_guard.rate_limit.memory import MemoryStore, hit_all
from asgi_guard.rate_limit.rule import Rule
from asgi_guard.rate_limit.store import Charge, Store
from asgi_guard.refusal import Refusal
from asgi_guard.shell import Admission, Layer, Shell

Fields = Literal["draft-11"] | None
_FIELDS: tuple[Fields, ...] = ("draft-11", None)


@dataclass(frozen=True, slots=True, init=False)
class RateLimit:
    """Refuses clients that are over their quota, with 429.

    Every rule that applies to a request is charged, all of them or none: a refused request costs
    nothing. CORS preflights are exempt. A websocket handshake counts as one request.

    What a client sees: `RateLimit-Policy` and `RateLimit` on every response; when refused, 429 with
    problem details (RFC 9457) that name the rules, and `Retry-After`.

    Args:
        rules: The rules; a string is a rule for every client and every path. At least one.
        store: Where counters live: `"memory://"` (the default) for a store of its own in this
            process, or a `Store` to share.
        fields: The header fields that tell clients what is left: `"draft-11"` (the default) for
            those of draft-ietf-httpapi-ratelimit-headers-11, None for none.

    Raises:
        ConfigurationError: There is no rule, two have one name, or a field is wrong.
    """

    rules: tuple[Rule, ...]
    store: str | Store
    fields: Fields

    def __init__(
        self, *rules: Rule | str, store: str | Store = MEMORY_STORE, fields: Fields = "draft-11"
    ) -> None:
        made = tuple(rule if isinstance(rule, Rule) else _rule(rule) for rule in rules)
        if not made:
            raise ConfigurationError(
                "RateLimit.rules", rules, "at least one, such as RateLimit('300/minute')"
            )
        labels = [rule.label for rule in made]
        for label in labels:
            if labels.count(label) > 1:
                raise ConfigurationError(
                    "Rule.name", label, "a name= that no other rule of this RateLimit has"
                )
        opened = open_store("RateLimit.store", store)
        for rule in made:
            opened.counter(rule.label, rule.whole_quota, rule.counting)
        if fields not in _FIELDS:
            raise ConfigurationError("RateLimit.fields", fields, "'draft-11' or None")
        object.__setattr__(self, "rules", made)
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "fields", fields)

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        return Shell(self, app, [RateLimitLayer(self)])


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """What one rule has decided since the app was wrapped.

    Attributes:
        rule: The rule's name.
        allowed: Requests it admitted.
        denied: Requests it refused.
    """

    rule: str
    allowed: int
    denied: int


class RateLimitLayer(Layer):
    """A `RateLimit` round one app."""

    def __init__(self, settings: RateLimit) -> None:
        self._store = open_store("RateLimit.store", settings.store)
        self._is_local = isinstance(self._store, MemoryStore)
        self._rules = [_RunningRule(rule, self._store) for rule in settings.rules]
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

    def snapshot(self) -> list[RuleCounts]:
        """Return the counts of every rule."""
        return [RuleCounts(rule.name, rule.allowed, rule.denied) for rule in self._rules]

    def admit(self, exchange: Exchange) -> Admission:
        """Charge the request, and admit or refuse it."""
        scope = exchange.scope
        if scope["method"] == "OPTIONS" and is_preflight(scope):
            return None
        rule = self._only
        if rule is None:
            rules = self._choice.of(scope)
            if len(rules) != 1 or not self._is_local:
                return self._admit_by_all(exchange, rules)
            rule = rules[0]
        key = rule.key(scope)  # from here on, what one rule needs: most requests meet one
        if key is None:
            return None
        admitted, left, reset, wait = rule.hit(key, 1)
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

    def _admit_by_all(self, exchange: Exchange, rules: "Sequence[_RunningRule]") -> Admission:
        applied: list[_RunningRule] = []
        charges: list[Charge] = []
        for rule in rules:
            key = rule.key(exchange.scope)
            if key is not None:
                applied.append(rule)
                charges.append((rule.counter, key, 1))
        if not charges:
            return None
        if self._is_local:
            return self._take_in(exchange, applied, hit_all(charges))
        return self._ask_store(exchange, applied, charges)

    async def _ask_store(
        self, exchange: Exchange, applied: "list[_RunningRule]", charges: list[Charge]
    ) -> bool:
        refused = self._take_in(exchange, applied, await self._store.hit(charges))
        return True if refused is None else await refused

    def _take_in(
        self, exchange: Exchange, applied: "list[_RunningRule]", decisions: Sequence[Decided]
    ) -> Admission:
        """Count the decisions, and add their fields."""
        fields = render_fields(applied, decisions) if self._shows_fields else ()
        for admitted, *_ in decisions:
            if not admitted:
                refusal, wait = _refusal(applied, decisions)
                return refusal.refuse(exchange, wait, fields)
        for rule in applied:
            rule.allowed += 1
        exchange.fields += fields
        return None


class _RunningRule:
    """A rule at work: what it needs on every request, and what it has decided."""

    __slots__ = (
        "allowed",
        "counter",
        "denied",
        "fields",
        "hit",
        "key",
        "name",
        "policy",
        "refusal",
        "state",
    )

    def __init__(self, rule: Rule, store: Store) -> None:
        quota = rule.whole_quota
        self.name = rule.label
        self.key = compile_key(rule.key)
        self.counter = store.counter(rule.label, quota, rule.counting)
        self.hit: Any = getattr(self.counter, "hit", None)  # of a counter in this process
        self.fields = RuleFields(rule.label, quota)
        self.policy, self.state = self.fields.policy_field, self.fields.state
        self.refusal = _named_refusal([rule.label])
        self.allowed = 0
        self.denied = 0


def _refusal(
    applied: Sequence[_RunningRule], decisions: Sequence[Decided]
) -> tuple[Refusal, float | None]:
    violated: list[_RunningRule] = []
    longest: float | None = 0.0
    for rule, (admitted, _, _, wait) in zip(applied, decisions, strict=True):
        if not admitted:
            rule.denied += 1
            violated.append(rule)
            longest = None if wait is None or longest is None else max(longest, wait)
    if len(violated) == 1:
        return violated[0].refusal, longest
    return _named_refusal([rule.name for rule in violated]), longest


def _named_refusal(names: Sequence[str]) -> Refusal:
    quoted = ", ".join(f'"{name}"' for name in names)
    return Refusal(
        429,
        "Too Many Requests",
        f"Quota {quoted} is used up." if len(names) == 1 else f"Quotas {quoted} are used up.",
        kind="quota-exceeded",
        members={"violated-policies": list(names)},
    )


def _rule(notation: object) -> Rule:
    if not isinstance(notation, str):
        raise ConfigurationError(
            "RateLimit.rules", notation, "a Rule, or a quota such as '300/minute'"
        )
    return Rule(notation)
