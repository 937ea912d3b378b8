"""The rate limit as a guard."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from asgi_guard._asgi import ASGIApp
from asgi_guard._checks import (
    check_count,
    check_flag,
    check_function,
    check_seconds,
    check_share,
)
from asgi_guard.errors import ConfigurationError
from asgi_guard.keys import Key, client_ip, connection
from asgi_guard.rate_limit.answer import ANSWERS, Answer
from asgi_guard.rate_limit.fields import Fields
from asgi_guard.rate_limit.layer import RateLimitLayer
from asgi_guard.rate_limit.messages import EXCESSES, OnExcess
from asgi_guard.rate_limit.rules.exempt import Exempt, check_exempt
from asgi_guard.rate_limit.rules.rule import FAILURE_MODES, OnStoreFailure, Rule
from asgi_guard.rate_limit.rules.running import open_counter
from asgi_guard.rate_limit.stores.opening import MEMORY_STORE, open_store
from asgi_guard.rate_limit.stores.store import GivesBack, Store
from asgi_guard.rate_limit.switch import Switch
from asgi_guard.shell import Shell

_FIELDS: tuple[Fields, ...] = ("draft-11", "legacy", "both", None)
_ANY_QUOTA = "1/minute"


@dataclass(frozen=True, slots=True, init=False)
class RateLimit:
    """Refuses clients that are over their quota, with 429.

    Every rule that applies to a request is charged, all of them or none: a refused request costs
    nothing. CORS preflights are exempt. A websocket handshake counts as one request;
    `messages` limits what follows.

    What a client sees: `RateLimit-Policy` and `RateLimit` on every response; when refused, 429 with
    problem details (RFC 9457) that name the rules, and `Retry-After`.

    Args:
        rules: The rules; a string is a rule for every client and every path. At least one.
        store: Where counters live: `"memory://"` (the default) for a store of its own in this
            process, the URL of a Redis that all workers share or, with `async+` before it, of
            another storage that `limits` knows, or a `Store`.
        fields: The header fields that tell clients what is left: `"draft-11"` (the default) for
            those of draft-ietf-httpapi-ratelimit-headers-11, `"legacy"` for `X-RateLimit-Limit`,
            `-Remaining` and `-Reset` (a Unix time), `"both"`, or None for none.
        on_store_failure: What holds while the store gives no answer: `"local"` (the default) for
            counters in this process, which are kept warm meanwhile; `"admit"`; or `"refuse"`,
            with 503. Rules may have their own.
        store_timeout: Seconds that a decision may wait for the store, above 0; default 0.05.
        workers: Processes that share the store, from 1 up; default 1. A local counter takes its
            share of the quota.
        jitter: What is added to `Retry-After` at random, as a share of it from 0 up to 1, so that
            clients do not come back together; default 0.
        exempt: Whom and what the whole guard leaves alone, as the `exempt` of a rule; default None:
            nobody. A function is asked once for each request, and for each message.
        messages: Rules for the messages that websockets receive, charged as requests are once the
            handshake is admitted; a string is a rule for each connection. A rule without a name
            gets its usual one and "messages"; default none.
        on_excess: What becomes of a message over quota: `"close"` (the default) closes the
            websocket with code 1008; `"drop"` does not deliver the message; `"delay"` delivers it
            once its rules admit it, and reads no other before, and closes the websocket where that
            is never.
        answer: What answers a request over quota: a function, plain or async, from scope and
            `QuotaExceeded` to an ASGI app, such as a response of Starlette; default None for
            problem details. Its response gets the fields, and where it has none of its own
            `Retry-After` and `Cache-Control: no-store`. Websockets get the usual answer.
        shadow: Whether no rule is enforced, as with the `shadow` of a rule; default False.
        switch: Turns this guard off and on while the app runs; default None: it is always on.

    Raises:
        ConfigurationError: There is no rule of either kind, two have one name, or a field is wrong.
    """

    rules: tuple[Rule, ...]
    store: str | Store = field(repr=False)  # a URL may hold a password
    fields: Fields
    on_store_failure: OnStoreFailure
    store_timeout: float
    workers: int
    jitter: float
    exempt: Exempt | None
    messages: tuple[Rule, ...]
    on_excess: OnExcess
    answer: Answer | None
    shadow: bool
    switch: Switch | None

    def __init__(
        self,
        *rules: Rule | str,
        store: str | Store = MEMORY_STORE,
        fields: Fields = "draft-11",
        on_store_failure: OnStoreFailure = "local",
        store_timeout: float = 0.05,
        workers: int = 1,
        jitter: float = 0.0,
        exempt: Exempt | None = None,
        messages: Sequence[Rule | str] = (),
        on_excess: OnExcess = "close",
        answer: Answer | None = None,
        shadow: bool = False,
        switch: Switch | None = None,
    ) -> None:
        made = tuple(_rule("rules", rule) for rule in rules)
        incoming = _message_rules(messages, on_excess)
        if not made and not incoming:
            raise ConfigurationError(
                "RateLimit.rules", rules, "at least one, such as RateLimit('300/minute')"
            )
        labels = [rule.label for rule in made + incoming]
        for label in labels:
            if labels.count(label) > 1:
                raise ConfigurationError(
                    "Rule.name", label, "a name= that no other rule of this RateLimit has"
                )
        _check_counters(open_store("RateLimit.store", store), made + incoming, workers)
        if fields not in _FIELDS:
            raise ConfigurationError(
                "RateLimit.fields", fields, "'draft-11', 'legacy', 'both' or None"
            )
        if on_store_failure not in FAILURE_MODES:
            raise ConfigurationError(
                "RateLimit.on_store_failure",
                on_store_failure,
                f"one of {', '.join(map(repr, FAILURE_MODES))}",
            )
        check_seconds("RateLimit.store_timeout", store_timeout)
        check_count("RateLimit.workers", workers)
        if jitter != 0:
            check_share("RateLimit.jitter", jitter)
        if answer is not None:
            check_function("RateLimit.answer", answer, ANSWERS, may_wait=True, takes=2)
        check_flag("RateLimit.shadow", shadow)
        if switch is not None and not isinstance(switch, Switch):
            raise ConfigurationError("RateLimit.switch", switch, "a Switch() or None")
        object.__setattr__(self, "rules", made)
        object.__setattr__(self, "store", store)
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "on_store_failure", on_store_failure)
        object.__setattr__(self, "store_timeout", store_timeout)
        object.__setattr__(self, "workers", workers)
        object.__setattr__(self, "jitter", jitter)
        object.__setattr__(self, "exempt", check_exempt("RateLimit.exempt", exempt))
        object.__setattr__(self, "messages", incoming)
        object.__setattr__(self, "on_excess", on_excess)
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "shadow", shadow)
        object.__setattr__(self, "switch", switch)

    def __call__(self, app: ASGIApp) -> Shell:
        """Wrap an ASGI app."""
        return Shell(self, app, [RateLimitLayer(self)])


def _message_rules(messages: object, on_excess: object) -> tuple[Rule, ...]:
    if not isinstance(messages, list | tuple):
        raise ConfigurationError(
            "RateLimit.messages", messages, "a sequence of rules, such as ['20/second']"
        )
    if on_excess not in EXCESSES or (on_excess != EXCESSES[0] and not messages):
        raise ConfigurationError(
            "RateLimit.on_excess",
            on_excess,
            f"one of {', '.join(map(repr, EXCESSES))}, and without messages= nothing else than "
            f"{EXCESSES[0]!r}",
        )
    rules = [_rule("messages", each, connection) for each in messages]
    if any(each.count_when is not None for each in rules):
        raise ConfigurationError(
            "RateLimit.messages", messages, "rules without count_when=: messages have no outcome"
        )
    if on_excess == "delay" and any(each.ban is not None for each in rules):
        raise ConfigurationError(
            "RateLimit.on_excess",
            on_excess,
            "'close' or 'drop' where a rule for messages has a ban=: what is delayed is no refusal",
        )
    for each in rules:
        if each.methods is not None and "GET" not in each.methods:
            raise ConfigurationError(
                "Rule.methods", each.methods, "None or {'GET'} for messages: a handshake is a GET"
            )
    return tuple(
        each if each.name else replace(each, name=f"{each.label} messages") for each in rules
    )


def _rule(field: str, rule: object, key: Key = client_ip) -> Rule:
    if isinstance(rule, Rule):
        return rule
    if not isinstance(rule, str):
        raise ConfigurationError(
            f"RateLimit.{field}", rule, "a Rule, or a quota such as '300/minute'"
        )
    return Rule(rule, key=key)


def _check_counters(store: Store, rules: Sequence[Rule], workers: int) -> None:
    """Require a store that can count as the rules say."""
    for rule in rules:
        tier = rule.tier(rule.default_quota or _ANY_QUOTA) if callable(rule.quota) else rule
        open_counter(store, tier, workers)
        if rule.count_when is not None and not isinstance(store, GivesBack):
            raise ConfigurationError(
                "Rule.count_when", rule.count_when, "None where the store cannot give back"
            )
