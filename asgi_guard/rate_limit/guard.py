"""The rate limit as a guard."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from asgi_guard._asgi import (
    REQUEST_TYPES,
    RESPONSE_STARTS,
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
    is_preflight,
    mark_of,
)
from asgi_guard.errors import ConfigurationError
from asgi_guard.keys import Key, bounded
from asgi_guard.matching import Matcher, compile_matcher
from asgi_guard.rate_limit.decision import Decision
from asgi_guard.rate_limit.fields import RuleFields, render_fields
from asgi_guard.rate_limit.limiter import MEMORY_STORE, open_store
from asgi_guard.rate_limit.quota import Quota, parse_quota
from asgi_guard.rate_limit.rule import Rule
from asgi_guard.rate_limit.store import Charge, Store
from asgi_guard.refusal import Refusal

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
                    "Rule.name", label, "a name that no other rule of this RateLimit has"
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


class RateLimitShell:
    """The ASGI app that a `RateLimit` returns."""

    def __init__(self, settings: RateLimit, app: ASGIApp) -> None:
        self._app = app
        self._settings = settings  # alive, so that nothing else gets its mark
        self._mark = mark_of(settings)
        self._store = open_store("RateLimit.store", settings.store)
        self._rules = [_compile(rule) for rule in settings.rules]
        self._shows_fields = settings.fields is not None
        self._allowed = dict.fromkeys((rule.name for rule in self._rules), 0)
        self._denied = dict.fromkeys(self._allowed, 0)

    def snapshot(self) -> list[RuleCounts]:
        """Return the counts of every rule."""
        return [
            RuleCounts(name, allowed, self._denied[name]) for name, allowed in self._allowed.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Charge the request, then pass it on or refuse it."""
        if scope["type"] not in REQUEST_TYPES or self._mark in scope or is_preflight(scope):
            return await self._app(scope, receive, send)
        applied, charges = self._charges(scope)
        if not applied:
            return await self._app(scope, receive, send)
        decisions = await self._store.hit(charges)
        fields = render_fields(applied, decisions) if self._shows_fields else ()
        for decision in decisions:
            if not decision.admitted:
                refusal, wait = self._refusal(applied, decisions)
                return await refusal.answer(scope, receive, send, wait, fields)
        for rule in applied:
            self._allowed[rule.name] += 1
        scope[self._mark] = True
        try:
            await self._app(scope, receive, _with_fields(send, fields) if fields else send)
        finally:
            scope.pop(self._mark, None)

    def _charges(self, scope: Scope) -> tuple[list["_CompiledRule"], list[Charge]]:
        applied: list[_CompiledRule] = []
        charges: list[Charge] = []
        for rule in self._rules:
            if rule.matches is None or rule.matches(scope):
                key = rule.key(scope)
                if key is not None:
                    applied.append(rule)
                    charges.append(Charge(rule.name, rule.quota, bounded(key)))
        return applied, charges

    def _refusal(
        self, applied: Sequence["_CompiledRule"], decisions: Sequence[Decision]
    ) -> tuple[Refusal, float | None]:
        violated: list[_CompiledRule] = []
        longest: float | None = 0.0
        for rule, decision in zip(applied, decisions, strict=True):
            if not decision.admitted:
                self._denied[rule.name] += 1
                violated.append(rule)
                wait = decision.retry_after
                longest = None if wait is None or longest is None else max(longest, wait)
        if len(violated) == 1:
            return violated[0].refusal, longest
        return _named_refusal([rule.name for rule in violated]), longest


class _CompiledRule(NamedTuple):
    name: str
    quota: Quota
    key: Key
    matches: Matcher | None
    fields: RuleFields
    refusal: Refusal


def _compile(rule: Rule) -> _CompiledRule:
    quota = parse_quota("Rule.quota", rule.quota)
    return _CompiledRule(
        name=rule.label,
        quota=quota,
        key=rule.key,
        matches=compile_matcher("Rule", rule.path, rule.methods),
        fields=RuleFields(rule.label, quota),
        refusal=_named_refusal([rule.label]),
    )


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


def _with_fields(send: Send, fields: tuple[tuple[bytes, bytes], ...]) -> Send:
    def send_with_fields(message: Message) -> object:
        if message["type"] in RESPONSE_STARTS:
            message = {**message, "headers": [*message.get("headers", ()), *fields]}
        return send(message)

    return send_with_fields  # type: ignore[return-value]  # it returns what `send` returns
