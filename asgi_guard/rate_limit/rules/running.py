"""Rules at work: what they need on every request, and what they have decided."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from math import ceil
from typing import Any

from asgi_guard._asgi import Scope
from asgi_guard.errors import ConfigurationError
from asgi_guard.rate_limit.decision import BanBegun, Banned, Decided
from asgi_guard.rate_limit.fields import Field, RuleFields
from asgi_guard.rate_limit.rules.rule import OnStoreFailure, Rule
from asgi_guard.rate_limit.stores.banning import BanningCounter
from asgi_guard.rate_limit.stores.counters import MemoryCounter  # noqa: TC001
from asgi_guard.rate_limit.stores.memory import MemoryStore
from asgi_guard.rate_limit.stores.store import Counter, Store
from asgi_guard.refusal import Refusal

_REFUSALS = 256  # answers that are kept, each for rules that refuse together
_HASH = 6  # bytes
_HASHES = 2.0 ** (8 * _HASH)
_NO_BANS = (
    "None, but for rules that count in this process or in Redis: store='memory://' or "
    "store='redis://...'"
)


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """What one rule has decided since the app was wrapped.

    Attributes:
        rule: The rule's name.
        allowed: Requests it admitted.
        denied: Requests it refused.
        exempt: Requests that it would have applied to, if they had not been exempt from it.
        shadow_denied: Requests it would have refused, if it were enforced.
        bans: Bans that it has begun, or would have begun, if it were enforced.
    """

    rule: str
    allowed: int
    denied: int
    exempt: int
    shadow_denied: int
    bans: int


class RuleTally:
    """What one rule has decided so far; see `RuleCounts`."""

    __slots__ = ("allowed", "bans", "denied", "exempt", "shadow_denied")

    def __init__(self) -> None:
        self.allowed: int = 0
        self.denied: int = 0
        self.exempt: int = 0
        self.shadow_denied: int = 0
        self.bans: int = 0

    def counts(self, rule: str) -> RuleCounts:
        """Return them as those of the rule of this name."""
        return RuleCounts(
            rule, self.allowed, self.denied, self.exempt, self.shadow_denied, self.bans
        )


class RunningRule:
    """A rule with a quota, at work in one app.

    Args:
        rule: The rule.
        store: Where it counts.
        mode: What holds while the store gives no answer.
        tally: Where its decisions are counted.
        enforced: The share of keys for which it is enforced, from 0 to 1; default 1.0.

    Attributes:
        key: Whom to charge, where that is known without waiting; None where nobody is.
        cost: Units to charge, where that is always the same.
        bans: Whether it bans keys that it refuses again and again.
        spare: What decides in this process while the store is out; None where nothing does.
        warmed: What is charged there meanwhile: the same, but nobody is banned for what the store
            has admitted.
    """

    __slots__ = (
        "bans",
        "cost",
        "count_when",
        "counter",
        "enforced",
        "fields",
        "hit",
        "key",
        "mode",
        "name",
        "policy",
        "refusal",
        "spare",
        "state",
        "tally",
        "warmed",
    )

    key: Callable[[Scope], str | None]
    cost: int

    def __init__(
        self,
        rule: Rule,
        store: Store,
        mode: OnStoreFailure,
        tally: RuleTally,
        workers: int = 1,
        *,
        enforced: float = 1.0,
    ) -> None:
        quota = rule.whole_quota
        self.name: str = rule.label
        self.counter: Counter = open_counter(store, rule, workers)
        self.hit: Any = getattr(self.counter, "hit", None)  # of a counter in this process
        self.fields: RuleFields = RuleFields(rule.label, quota)
        self.policy: Field = self.fields.policy_field
        self.state: bytes = self.fields.state
        self.refusal: Refusal = quota_exceeded((rule.label,))
        self.mode: OnStoreFailure = mode
        self.bans: bool = rule.ban is not None
        self.spare: MemoryCounter | None = None
        self.warmed: MemoryCounter | None = None
        self.tally: RuleTally = tally
        self.enforced: float = enforced
        asked = rule.count_when
        self.count_when: Callable[[int], object] | None = (
            asked.__contains__ if isinstance(asked, AbstractSet) else asked
        )

    def enforces(self, key: str) -> bool:
        """Tell whether it is enforced for a key; the same in every process."""
        if 0 < self.enforced < 1:
            hashed = blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_HASH).digest()
            return int.from_bytes(hashed) < self.enforced * _HASHES
        return self.enforced == 1

    def keep_spare(self, rule: Rule, store: MemoryStore, workers: int) -> None:
        """Keep a counter in this process, for this worker's share of the quota."""
        quota = rule.whole_quota
        share = replace(
            quota,
            count=ceil(quota.count / workers),
            burst=None if quota.burst is None else ceil(quota.burst / workers),
        )
        algorithm = rule.counting
        exact = algorithm == "moving-window"  # of which a process has no counter of ours
        self.spare = store.counter(
            rule.label, share, "sliding-window" if exact else algorithm, ban=rule.ban
        )
        self.warmed = self.spare.plain if isinstance(self.spare, BanningCounter) else self.spare


def open_counter(store: Store, rule: Rule, workers: int) -> Counter:
    """Return the counter of a rule.

    Raises:
        ConfigurationError: The store cannot count so.
    """
    terms: dict[str, Any] = {}
    if rule.lease:
        if not getattr(store, "grants_leases", False):
            raise ConfigurationError(
                "Rule.lease", rule.lease, "0, but for rules that count in Redis"
            )
        terms = {"lease": rule.lease, "workers": workers}
    if rule.ban is not None:
        if not getattr(store, "keeps_bans", False):
            raise ConfigurationError("Rule.ban", rule.ban, _NO_BANS)
        terms = {"ban": rule.ban}
    able: Any = store
    return able.counter(rule.label, rule.whole_quota, rule.counting, **terms)


def refused_by(
    applied: Sequence[RunningRule], decisions: Sequence[Decided]
) -> tuple[Refusal, float | None]:
    """Count who refused; return the answer, and the seconds after which all would admit."""
    violated: list[RunningRule] = []
    banning: list[str] = []
    longest: float | None = 0.0
    for place, decision in enumerate(decisions):
        if not decision[0]:
            rule, wait = applied[place], decision[3]
            rule.tally.denied += 1
            violated.append(rule)
            if longest is not None and (wait is None or wait > longest):
                longest = wait
            if rule.bans and count_ban(rule, decision):
                banning.append(rule.name)
    if banning:
        return banned_by(tuple(banning), tuple(rule.name for rule in violated)), longest
    if len(violated) == 1:
        return violated[0].refusal, longest
    return quota_exceeded(tuple(rule.name for rule in violated)), longest


def count_ban(rule: RunningRule, decided: Decided) -> bool:
    """Tell whether a key is banned, and count a ban that begins."""
    if isinstance(decided, BanBegun):
        rule.tally.bans += 1
    return isinstance(decided, Banned)


@lru_cache(_REFUSALS)
def banned_by(banning: tuple[str, ...], violated: tuple[str, ...]) -> Refusal:
    """Return the answer that names the rules which ban, and all those which refuse."""
    return Refusal(
        429,
        "Too Many Requests",
        f"Banned after repeated refusals by {_quoted(banning)}.",
        kind="abnormal-usage-detected",
        members={"violated-policies": list(violated)},
    )


@lru_cache(_REFUSALS)  # to render an answer takes longer than to come to it
def quota_exceeded(names: tuple[str, ...]) -> Refusal:
    """Return the answer that names these rules."""
    quoted = _quoted(names)
    return Refusal(
        429,
        "Too Many Requests",
        f"Quota {quoted} is used up." if len(names) == 1 else f"Quotas {quoted} are used up.",
        kind="quota-exceeded",
        members={"violated-policies": list(names)},
    )


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


NO_STORE = Refusal(
    503,
    "Service Unavailable",
    "The server cannot count requests at the moment.",
    kind="temporary-reduced-capacity",
)
"""For rules that refuse while the store gives no answer."""
