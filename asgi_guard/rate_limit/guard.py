"""The rate limit as a guard."""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Literal

from asgi_guard._asgi import ASGIApp, Receive, Scope, is_preflight
from asgi_guard.errors import ConfigurationError
from asgi_guard.keys import HeaderKey, bounded, client_ip
from asgi_guard.matching import compile_matcher
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.fields import Field, RuleFields, render_fields
from asgi_guard.rate_limit.limiter import MEMORY_STORE, open_store
from asgi_guard.rate_limit.memory import MemoryStore, hit_all
from asgi_guard.rate_limit.quota import parse_quota
from asgi_guard.rate_limit.rule import Rule
from asgi_guard.rate_limit.store import Charge, Store
from asgi_guard.refusal import Refusal
from asgi_guard.response import Response
from asgi_guard.shell import Handle, Shell

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
        open_store("RateLimit.store", store)
        if fields not in _FIELDS:
            raise ConfigurationError("RateLimit.fields", fields, "'draft-11' or None")
        object.__setattr__(self, "rules", made)
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "fields", fields)

    def __call__(self, app: ASGIApp) -> "RateLimitShell":
        """Wrap an ASGI app."""
        return RateLimitShell(self, app)


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


class RateLimitShell(Shell):
    """The ASGI app that a `RateLimit` returns."""

    def __init__(self, settings: RateLimit, app: ASGIApp, inner: Handle | None = None) -> None:
        super().__init__(settings, app, inner)
        self._store = open_store("RateLimit.store", settings.store)
        self._is_local = isinstance(self._store, MemoryStore)
        self._rules = [_RunningRule(rule, self._store) for rule in settings.rules]
        self._shows_fields = settings.fields is not None
        if self._is_local and len(self._rules) == 1 and self._rules[0].matches is None:
            self._rule = self._rules[0]
            self.handle = self._handle_one  # type: ignore[method-assign]

    def snapshot(self) -> list[RuleCounts]:
        """Return the counts of every rule."""
        return [RuleCounts(rule.name, rule.allowed, rule.denied) for rule in self._rules]

    def handle(self, scope: Scope, receive: Receive, response: Response) -> Awaitable[None]:
        """Charge the request, then pass it on or refuse it."""
        if scope.get("method") == "OPTIONS" and is_preflight(scope):
            return self._inner(scope, receive, response)
        applied: list[_RunningRule] = []
        charges: list[Charge] = []
        for rule in self._rules:
            if rule.matches is None or rule.matches(scope):
                key = rule.key(scope)
                if key is not None:
                    applied.append(rule)
                    charges.append((rule.counter, key if rule.is_bounded else bounded(key), 1))
        if not self._is_local:
            return self._decide_later(scope, receive, response, applied, charges)
        if len(charges) == 1:
            counter, key, _ = charges[0]
            decisions: Sequence[Decision] = [counter.hit(key, 1)]
        else:
            decisions = hit_all(charges)
        refusal = self._take_in(response, applied, decisions)
        if refusal is None:
            return self._inner(scope, receive, response)
        return refusal(scope, receive, response.send)

    def _handle_one(self, scope: Scope, receive: Receive, response: Response) -> Awaitable[None]:
        """Do the same where one rule applies to everything: the usual case, at half the cost."""
        rule = self._rule
        key = None if scope.get("method") == "OPTIONS" and is_preflight(scope) else rule.key(scope)
        if key is None:
            return self._inner(scope, receive, response)
        admitted, left, reset, wait = rule.counter.hit(key if rule.is_bounded else bounded(key), 1)
        fields: tuple[Field, ...] = ()
        if self._shows_fields:
            its = rule.fields
            fields = (its.policy_field, (b"ratelimit", its.state % (left, ceil(reset))))
        if admitted:
            rule.allowed += 1
            response.fields += fields
            return self._inner(scope, receive, response)
        rule.denied += 1
        return rule.refusal.answer(scope, receive, response.send, wait, fields)

    async def _decide_later(
        self,
        scope: Scope,
        receive: Receive,
        response: Response,
        applied: "list[_RunningRule]",
        charges: list[Charge],
    ) -> None:
        decisions = await self._store.hit(charges) if charges else ()
        refusal = self._take_in(response, applied, decisions)
        if refusal is None:
            await self._inner(scope, receive, response)
        else:
            await refusal(scope, receive, response.send)

    def _take_in(
        self, response: Response, applied: "list[_RunningRule]", decisions: Sequence[Decision]
    ) -> ASGIApp | None:
        """Count the decisions, and add their fields; return what answers instead of the app."""
        fields = render_fields(applied, decisions) if self._shows_fields and applied else ()
        for admitted, *_ in decisions:
            if not admitted:
                refusal, wait = _refusal(applied, decisions)
                return partial(refusal.answer, retry_after=wait, fields=fields)
        for rule in applied:
            rule.allowed += 1
        response.fields += fields
        return None


class _RunningRule:
    """A rule at work: what it needs on every request, and what it has decided."""

    __slots__ = (
        "allowed",
        "counter",
        "denied",
        "fields",
        "is_bounded",
        "key",
        "matches",
        "name",
        "refusal",
    )

    def __init__(self, rule: Rule, store: Store) -> None:
        quota = parse_quota("Rule.quota", rule.quota)
        self.name = rule.label
        self.key = rule.key
        self.is_bounded = rule.key is client_ip or isinstance(rule.key, HeaderKey)
        self.matches = compile_matcher("Rule", rule.path, rule.methods)
        self.counter = store.counter(rule.label, quota)
        self.fields = RuleFields(rule.label, quota)
        self.refusal = _named_refusal([rule.label])
        self.allowed = 0
        self.denied = 0


def _refusal(
    applied: Sequence[_RunningRule], decisions: Sequence[Decision]
) -> tuple[Refusal, float | None]:
    violated: list[_RunningRule] = []
    longest: float | None = 0.0
    for rule, decision in zip(applied, decisions, strict=True):
        if not decision.admitted:
            rule.denied += 1
            violated.append(rule)
            wait = decision.retry_after
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
