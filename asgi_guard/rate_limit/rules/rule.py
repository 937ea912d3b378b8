"""Rules: a quota, and whom and what it applies to."""

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal, TypeAlias, get_args

from asgi_guard._asgi import Scope
from asgi_guard._checks import (
    check_count,
    check_flag,
    check_function,
    check_name,
    check_seconds,
    check_share,
    is_name,
)
from asgi_guard.errors import ConfigurationError, shown
from asgi_guard.keys import KEYS, Key, client_ip
from asgi_guard.matching import check_methods, compile_matcher
from asgi_guard.rate_limit.algorithms import Algorithm
from asgi_guard.rate_limit.ban import Ban
from asgi_guard.rate_limit.quota import Quota, parse_quota
from asgi_guard.rate_limit.rules.exempt import Exempt, check_exempt

Cost: TypeAlias = int | Callable[[Scope], int | Awaitable[int]]
"""Units that a request costs, or a function, plain or async, from scope to units."""

QuotaFunction: TypeAlias = Callable[[Scope], str | Quota | Awaitable[str | Quota | None] | None]
"""A function, plain or async, from scope to a quota; None exempts the request."""

CountWhen: TypeAlias = AbstractSet[int] | Callable[[int], bool]
"""Statuses, or a function that tells of a status whether it counts."""

OnStoreFailure: TypeAlias = Literal["local", "admit", "refuse"]
FAILURE_MODES: tuple[str, ...] = get_args(OnStoreFailure)
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
_MOST_IN_A_LOG = 1000
_STATUSES = range(100, 600)
_OUTCOMES = "a set of statuses such as {401, 403}, or a function from status to True or False"
_QUOTAS = "a quota such as '5/minute', a Quota, or a function, plain or async, from scope to one"
_COSTS = "a whole number from 0 up, or a function, plain or async, from scope to one"


@dataclass(frozen=True, slots=True)
class Rule:
    """A quota, and whom and what it applies to.

    Args:
        quota: How much in how long, such as `"5/minute"`, or a `Quota`; or a function, plain or
            async, from scope to one of them, where None exempts the request. It is asked once per
            key in a while, so what it returns must depend on the key alone.
        name: What header fields, bodies and metrics call the rule: printable ASCII, at most 100
            characters; default: quota, burst, methods and path. Counters belong to the name. It is
            required where the quota is a function.
        key: Whom to charge: `client_ip` (the default), `header("x-api-key")`, `user`, `path`,
            `combine(...)` of such, or a function, plain or async, from scope to string, where None
            exempts the request.
        path: A pattern such as `/login`, `/users/{id}` or `/api/*`; default: every path. It is
            matched below `root_path`, and a slash at the end does not count.
        methods: Method names such as `{"POST"}`; default: every method. GET includes HEAD, and a
            websocket handshake is a GET.
        cost: Units that a request costs, a whole number from 0 (it only looks) up, or a function,
            plain or async, from scope to such a number; default 1. What costs more than the quota
            ever holds is refused without `Retry-After`.
        burst: Units at once, from 1 up: makes the quota a token bucket of that size, which fills at
            the rate of the quota; default None.
        algorithm: How to count: `"sliding-window"`, `"fixed-window"`, `"token-bucket"` or
            `"moving-window"`; default None for a token bucket with `burst`, and the sliding
            window without.
        exempt: Whom and what the rule leaves alone: a sequence of networks such as `"10.0.0.0/8"`
            that the client may be in, path patterns such as `"/health"`, and functions, plain or
            async, from scope to True or False; default None: nobody.
        on_store_failure: What holds while the store gives no answer: `"local"`, `"admit"` or
            `"refuse"`; default None for what the `RateLimit` says.
        lease: Units of a key that a worker may take from Redis at once, to decide by itself until
            they are used, from 2 up; default 0: each unit is asked for. Of one key up to
            `workers * (lease - 1)` units may be held by workers that do not need them, and so may
            as many be used in the period after the one they were taken in.
        quota_ttl: Seconds for which an answer of the quota function holds, from 0 (it is asked for
            every request) up; default 60.
        default_quota: What holds where the quota function fails, for keys whose last answer is not
            known; default None: its error is the app's, and the request is not admitted.
        shadow: Whether the rule only decides and counts, and refuses nobody; default False. It is
            charged for what the other rules admit, and has no header fields.
        enforce_ratio: The share of keys, from 0 to 1, for which the rule is enforced; for the
            others it is a shadow; default 1.0. A key is always on the same side, in every process,
            and stays enforced when the ratio grows.
        count_when: Which outcomes are charged: a set of statuses such as `{401, 403}`, or a
            function from status to True or False; default None: all. Requests are charged ahead,
            and what does not count is given back once the response is out.
        ban: What becomes of keys that the rule refuses again and again, such as `Ban(after=10)`;
            default None: nothing.

    Raises:
        ConfigurationError: A field is wrong; the message says which, and what is allowed.
    """

    quota: str | Quota | QuotaFunction
    _: KW_ONLY
    name: str | None = None
    key: Key = client_ip
    path: str | None = None
    methods: AbstractSet[str] | None = None
    cost: Cost = 1
    burst: int | None = None
    algorithm: Algorithm | None = None
    exempt: Exempt | None = None
    on_store_failure: OnStoreFailure | None = None
    lease: int = 0
    quota_ttl: float = 60.0
    default_quota: str | Quota | None = None
    shadow: bool = False
    enforce_ratio: float = 1.0
    count_when: CountWhen | None = None
    ban: Ban | None = None

    def __post_init__(self) -> None:
        """Refuse what is no rule."""
        if self.name is not None:
            check_name("Rule.name", self.name)
        self._check_tiers()
        self._check_counting()
        self._check_enforcing()
        self._check_outcomes()
        self._check_ban()
        check_function(
            "Rule.key",
            self.key,
            KEYS,
            may_wait=True,
        )
        if callable(self.cost):
            check_function("Rule.cost", self.cost, _COSTS, may_wait=True)
        else:
            check_count("Rule.cost", self.cost, least=0)
        object.__setattr__(self, "exempt", check_exempt("Rule.exempt", self.exempt))
        if self.lease != 0:
            check_count("Rule.lease", self.lease, least=2)
        if self.on_store_failure not in (None, *FAILURE_MODES):
            raise ConfigurationError(
                "Rule.on_store_failure",
                self.on_store_failure,
                f"None, or one of {', '.join(map(repr, FAILURE_MODES))}",
            )
        if self.methods is not None:
            object.__setattr__(self, "methods", check_methods("Rule.methods", self.methods))
        compile_matcher("Rule", self.path, self.methods)
        if self.name is None and not is_name(self.label):
            raise ConfigurationError(
                "Rule.name", None, f"a name= for this rule, since {shown(self.label)} cannot be one"
            )

    def _check_tiers(self) -> None:
        check_seconds("Rule.quota_ttl", self.quota_ttl, zero=True)
        default = self.default_quota
        if default is not None:
            parse_quota("Rule.default_quota", default)
        if not callable(self.quota):
            if default is not None:
                raise ConfigurationError(
                    "Rule.default_quota", default, "None, where quota= is no function"
                )
            return
        check_function("Rule.quota", self.quota, _QUOTAS, may_wait=True)
        if self.name is None:
            raise ConfigurationError("Rule.name", None, "a name=, where quota= is a function")
        if default is not None:
            self.tier(default)

    def _check_counting(self) -> None:
        quota = None if callable(self.quota) else parse_quota("Rule.quota", self.quota)
        if self.burst is not None:
            check_count("Rule.burst", self.burst)
        if self.algorithm not in (None, *ALGORITHMS):
            raise ConfigurationError(
                "Rule.algorithm", self.algorithm, f"None, or one of {', '.join(ALGORITHMS)}"
            )
        if self.burst or (quota is not None and quota.burst):
            if self.algorithm not in {None, "token-bucket"}:
                raise ConfigurationError(
                    "Rule.algorithm", self.algorithm, "'token-bucket' or None where burst= is given"
                )
            object.__setattr__(self, "algorithm", "token-bucket")
        many = quota is not None and quota.count > _MOST_IN_A_LOG
        if self.algorithm == "moving-window" and many:
            raise ConfigurationError(
                "Rule.quota",
                self.quota,
                f"at most {_MOST_IN_A_LOG} units in a moving window, which keeps a time for each",
            )

    def _check_enforcing(self) -> None:
        check_flag("Rule.shadow", self.shadow)
        check_share("Rule.enforce_ratio", self.enforce_ratio, zero=True)
        if self.shadow and self.enforce_ratio != 1:
            raise ConfigurationError(
                "Rule.enforce_ratio", self.enforce_ratio, "1.0 where shadow=True enforces nothing"
            )

    def _check_outcomes(self) -> None:
        asked = self.count_when
        if isinstance(asked, AbstractSet):
            if not asked or not all(type(each) is int and each in _STATUSES for each in asked):
                raise ConfigurationError("Rule.count_when", asked, _OUTCOMES)
            object.__setattr__(self, "count_when", frozenset(asked))
        elif asked is not None:
            check_function("Rule.count_when", asked, _OUTCOMES)

    def _check_ban(self) -> None:
        if self.ban is None:
            return
        if not isinstance(self.ban, Ban):
            raise ConfigurationError("Rule.ban", self.ban, "None, or such as Ban(after=10)")
        if self.lease:
            raise ConfigurationError(
                "Rule.lease",
                self.lease,
                "0 where ban= is given: who has units on lease does not ask who is banned",
            )

    @property
    def enforced(self) -> float:
        """The share of keys for which it is enforced."""
        return 0.0 if self.shadow else self.enforce_ratio

    def tier(self, quota: str | Quota) -> "Rule":
        """Return the rule with this quota in place of its function.

        Raises:
            ConfigurationError: It is no quota, or none for a rule that counts as this one does.
        """
        return replace(self, quota=quota, default_quota=None)

    @property
    def counting(self) -> Algorithm:
        """How it counts."""
        return self.algorithm or "sliding-window"

    @property
    def whole_quota(self) -> Quota:
        """The quota, with its burst; not where it is a function."""
        quota = parse_quota("Rule.quota", self.quota)
        return quota if self.burst is None else replace(quota, burst=self.burst)

    @property
    def label(self) -> str:
        """What the rule is called: its name, or its quota, burst, methods and path."""
        if self.name is not None:
            return self.name
        notation, quota = self.quota, self.whole_quota
        parts = [notation if isinstance(notation, str) else f"{quota.count}/{quota.period:g}s"]
        if quota.burst is not None:
            parts.append(f"burst {quota.burst}")
        if self.methods is not None:
            parts.append(",".join(sorted(self.methods)))
        if self.path is not None:
            parts.append(self.path)
        return " ".join(parts)
